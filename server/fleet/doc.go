// Package fleet makes up a fleet of Caddy instances, for demonstrations, tests
// and benchmarks.
//
// In comes a seed, a number of instances and a span of time. Out go, at the
// caller's choice, rows as package aggregate would have made them (History), or
// the reports of one instance after the other, signed by its own key (Reporter).
// Nothing of it may be taken for real: whoever stores it marks it as simulated.
//
// # Guarantees
//
// The same Config makes the same fleet, to the byte: instances, keys, counts.
//
// Counts add up as real ones do: of a metric and period, the values of every
// facet sum to the whole; hours are the sums of their windows where windows are
// made, and days those of their hours. Histograms' buckets sum to their counts,
// and their facets' buckets are split for themselves.
//
// # The model
//
// Instances are born, upgrade and disappear one by one: each has a country, a
// platform, a way to update and a size, which has a long tail. What a period
// counts follows from those alive: their traffic goes with the local time of
// day and the weekday, each metric's cells have shares of it (shapes.go) that
// drift over the weeks (HTTP/3, post-quantum key exchange, browsers' versions),
// and each country, version and platform has likings of its own. On top are
// Events: releases of Caddy, one of which answers more errors than it should,
// botnets, a country that is cut off, and a gap in the collection.
//
// What it does not model: facets are independent of each other given the
// metric, no instance has a character in its traffic but its size, and an
// instance's reports are drawn for themselves, so that History and the sum of
// all Reporters agree in distribution only.
package fleet
