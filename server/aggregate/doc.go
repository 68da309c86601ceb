// Package aggregate folds ranges of an ingest log into batches of rollup rows.
//
// In come the records of one log, in order. Out go [store.Batch]es, each with
// the rows, the instances' new states and the log's new position, which the
// store takes over together or not at all.
//
// # Exactly once
//
// A report counts once, however often it was sent and whatever crashed: the
// state of its instance says which numbers were counted ([store.Instance]),
// and is committed with the rows and the position. A report whose number is 65
// or more below the highest one counts as a duplicate. After an error of
// Commit, and after every start, the store's position says how far it came.
//
// A batch that is tried again is the same to the byte, which is what makes a
// replicated engine drop it. What a batch holds depends on its range of the
// log and on what the store held before; and before a batch is handed over,
// its range is written to Config.CutFile, so that a restart cuts at the same
// place although the log has grown. Erasing an instance in between is the
// exception: the batch then lacks that instance.
//
// # What is counted
//
// Every window of a report is a contribution to the rows of the server's
// window that it begins in, of the hour and of the day, once for each facet
// that the dictionary names for the metric. Counters and histograms add; a
// peak is an observation of a histogram over instances' windows.
//
// An instance counts once in each window, hour and day, under the facts of its
// first report there: metrics of kind Instances have a row for each fact,
// instances.active its registers (package hll) and, in Count, how many
// instances counted, which is exact where no rows of several starts are merged.
//
// Values with an open vocabulary are bounded, because anybody may invent some:
// a day has at most so many labels of a metric and values of a facet as
// vocabulary.go says, first come, first served; the rest is "other". What a
// day has is read from the store when the first report for that day comes.
//
// Incidents are handed on one by one, in the state of the latest window that
// mentions them, with the networks that the collector found for them.
//
// # What is skipped
//
// A record that can't be decoded or is not clean is counted and skipped, as
// the collector let none in. An error of the store is never skipped: the
// batch is tried until it is stored.
package aggregate
