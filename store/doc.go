// Package store keeps the state of a node: zones, pools, tenants, hosts, keys and tokens, in memory, as an
// [Engine] has it durably.
//
//	Update ──plan──▶ Engine.Commit ──▶ feed (Engine.Watch) ──▶ memdb ──▶ State, one atomic pointer ──▶ epochs
//
// memdb is fed by the feed alone, so that a node that makes a change and one that hears of it come to the same
// state by the same code. Update returns when the local state has its commit. What can fail comes before the
// durable write; what comes after it cannot.
package store
