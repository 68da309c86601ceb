// Package dataset publishes what the store sums up as files that anyone may
// have: Parquet and CSV, hourly and daily, with a signed manifest.
//
// In come rollup rows of complete hours and days; a folder leaves, which any web
// server can serve. Every published number is of at least as many instances and
// events as the Rule says, and none of them gave more than its share; and no sum
// that follows from several published numbers of a metric says less: see
// Rule.partition and Rule.day. Distinct things are estimates, rounded.
//
// An hour is published once, from rows that are kept as they were then (frozen):
// what instances report later is left out, because the difference to what was
// published would be theirs alone. Publishing again, after the rule or the method
// has changed, starts from the same rows.
//
// # Layout
//
//	manifest.json             what there is, with size and SHA-256 of each file
//	manifest.json.minisig     its signature, as minisign has it
//	key.pub                   the key, as minisign has it
//	v1/hour/METRIC/2026-11-21.parquet, .csv.zst    a day's hours; grows while the day goes on
//	v1/day/METRIC/2026-11.parquet, .csv.zst        a month's days
//
// The columns of a table are time (start of the period, UTC), facet, value (of
// the facet), the metric's dimensions, its label if it has one, rest (the sum of
// the groups that are not shown), groups (how many they are), count, and
// quantiles in the metric's unit if it is a histogram's.
package dataset
