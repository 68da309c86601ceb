// Package attacks tells attacks from ordinary traffic.
//
// What arrives are a few facts of every request and connection when it ends:
// where it came from, the hash of its ClientHello, how it was answered and what
// was unusual about it. What leaves are incidents, as [wire.Incident]: stretches
// of time in which one kind of behaviour was far more frequent than it is here
// at this hour of the week. Guaranteed is:
//
//   - Memory is fixed when a Watcher is made, below 1 MiB, whatever clients send.
//   - Watching a request neither allocates nor waits for another.
//   - No address, path or User-Agent is kept. Sources are prefixes (/24, /48),
//     and the only ones that leave are the most frequent of an incident.
//   - One attack is one incident: what goes along with it, such as the 404s of
//     a scan, does not become another.
//
// Time is cut into steps of a minute. In each, a Watcher counts for every kind
// of incident the events that could be part of one, estimates from how many
// sources they came (HyperLogLog), finds the sources and ClientHellos that are
// most frequent (Space-Saving) and how they are spread (entropy). A step is hot
// if it has a multiple of the events to be expected, see [baseline]; hot steps
// make an incident, quiet ones end it. docs/attacks.md tells it at length, with
// the literature.
package attacks
