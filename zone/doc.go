// Package zone is the namespace: names, labels, zones, pools, tenants and the records that are made from
// them. It is pure: no input or output, no clock, no state. Everything that changes the namespace is a
// planning function that reads a [View] and returns [Changes]; everything that answers a question is
// [Lookup], which derives records and type bitmaps from one function, so that a denial cannot contradict
// a positive answer.
package zone
