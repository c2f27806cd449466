// Package etcd keeps records in an etcd cluster, so that several nodes share them. What makes that hard is left to etcd: quorum
// commits, one order of all commits, watches without gaps, leases.
//
//	PREFIX/meta               layout of the keys and id of the database, written once
//	PREFIX/record/KIND/ID     a record: one octet of format, then the value
//	PREFIX/record/last        is written with every commit
//	PREFIX/record/large       the large commit that is under way
//	PREFIX/block/N            what it writes
//	PREFIX/writer/NODE        the number of the last transaction of a node
//	PREFIX/leader             who leads, under its lease
//	PREFIX/node/NODE          the seat of a node, under its lease
//	PREFIX/clock/NODE         what time it is there, now and then, under the same lease
//
// The revision of a commit, and of a record, is etcd's revision. So a precondition of a transaction is one of etcd's, nodes that
// write different records do not wait for each other, and all that a commit writes arrives as the events of one revision.
//
// When a call fails, etcd may have committed all the same, or may do it later. That is why each transaction also changes a key that
// the node has for itself from one number to the next. A node that does not know looks at that key, and in the same transaction
// deletes it: either it finds the number that the lost transaction has written, or that one can no longer be committed.
//
// A commit that etcd does not take in one transaction is divided. Its node takes the key of the large commit, on a lease, and while that
// key is there nobody commits anything else. It stores the writes in blocks, looks at the preconditions, and makes the commit by one
// transaction, as others are made: that takes key and blocks from the lease. Then the writes are put where they belong, in steps. The last
// step takes the key away, and its revision is that of the commit. A feed holds back what it hears in between, and a load begins when
// nothing is under way. Whoever finds the key of a commit that was made, and whose node may be gone, takes the steps that are left.
//
// A node that is cut off goes on answering with what it has. Keys can nevertheless be rolled: every node has a seat, which is a key
// on a lease that it renews, and says there up to which revision it has everything. The leader takes no further step with the keys
// until all seats say so; and who could not renew its seat for Config.StaleAfter, after which the seat is gone, answers no more.
//
// A node that was killed has its seat still, and the leader relies on what it said there. So it can be started again without etcd, for as
// long as it might have gone on, but not with less than it said. It has an image: all records, followed by every commit since, which is
// durable before the seat says it; and another file, which says when the node was current, and is gone before the seat is given back.
//
// An etcd that was restored from a copy has another history than a node that runs on. That is found by the commits: with each etcd says
// which one was the last before it, and that must be the one that the node has applied last. For what these do not show there is a
// digest of all records, which every node keeps up with every commit, and tells at its seat: see digest.go.
//
// The seat says, too, which format of records the node knows, and keeps the database from getting a newer one: see format.go.
package etcd
