// Package watch judges whether a newly installed executable does harm.
//
// What arrives are [Sample]s: what a [Tally] has counted of the process's
// requests and handshakes, and its memory. While all is well, a [Baseline] takes
// one in a minute and keeps what is usual, by hour of the day, for the server
// and for each of its sites. After a switch, a [Watch] takes one in a second
// for ten minutes. What leaves is a [Verdict]: a sentence that says what the
// harm is, or that there was none.
//
// # The test
//
// All of 5xx answers, panics, failed handshakes and slow answers are "k of n".
// One minute's rate differs from another's by more than chance: backends
// restart, crawlers come. So the rate in a stretch of time is itself taken as
// drawn, from a beta distribution whose mean and spread are those of the
// baseline's minutes, and k of n is beta-binomial. The spread comes from the
// minutes' second moments; with little to go by it is taken as wide.
//
// Evidence of harm is the ratio E of two likelihoods of what was seen since the
// switch: under a mixture of beta distributions from the least rate that would be
// harm up to one, and under the baseline. Under the baseline E is a martingale
// that begins at 1, so by Ville's inequality the probability that it ever
// reaches 1/α, however often one looks, is at most α: it is a mixture
// sequential probability ratio test (Robbins 1970), and exact at any traffic.
// There is no correction for looking every second, and none is needed.
//
// E is the mean of three. The first takes the rate as drawn once for the
// whole watch, the second as drawn anew every two and a half minutes, so that a
// server that is used to outages of a minute still shows one that stays. The third is the
// mean over sixty times when harm may have begun, of which each
// begins at 1 then: what is good at first and bad later is found as soon. The
// baseline that explains what was seen best is the one that counts: the last
// hour's, that of this hour on days before, or that of all hours, each with the spread that
// was estimated and with three times as much.
//
// Harm must be worth the name too: [Harmful] rates differ from the baseline's by
// more than a threshold, and bad events must have been seen in several seconds,
// not in one burst. Both can only make alarms fewer.
//
// Whatever is tested has its share of α ([Alpha] in sum), see tests.go. Memory has a
// test of its own, see memory.go.
//
// # What is guaranteed
//
// Counting takes neither locks nor memory that clients could make grow: hosts are
// hashed into [Sites] slots. A slot's number is all that is written down. No name, address
// or path is kept, and nothing here is ever reported.
package watch
