// Package bolt is the engine for one node: a bbolt file in the data directory.
//
// Every record carries a checksum over its key and value, and the meta record counts the records of each bucket: what
// bbolt itself would not notice, such as a flipped bit or a lost page, is an error at start and in a backup.
//
// The file is locked. Whoever has it open is the one node there is.
package bolt
