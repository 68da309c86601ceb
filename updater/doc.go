// Package updater is the side of updates that is in Caddy: it asks the service
// whether this build needs one, and brings it from there to a process that runs
// it and was seen to do no harm, or back.
//
// In come a Policy, which may change at any time, what a person asks for, and the
// Actions that it acts through: it knows no Caddy, no repository and no sockets.
// Out come notices, outcomes, a Status, and a process that was made another
// executable. What is guaranteed between them:
//
//   - One process at a time updates in a folder (the lock of package slots); any
//     other tells of updates, and installs none.
//   - The states are those of the table in state.go, and no others follow each
//     other. Each is on disk, durably, before it is acted on, so that after a
//     crash or power cut at any point the next start goes on from it. Only the
//     way back from what does harm needs no disk that can be written.
//   - An executable serves only after it was verified, sealed in its slot and
//     rehearsed. It is what the next start brings only once it has come up. If it
//     then does harm, or the process ends without notice while it is watched,
//     what ran before comes back, and it is in quarantine: not tried again by
//     itself as long as it is the same bytes.
//   - What fails in passing is tried again, after a minute, then four times as
//     long each, up to a day; and six times only, where the executable itself may
//     be why.
//   - With updates off nothing is asked and nothing is written, but for a
//     candidate that already serves: that is watched to its end.
//   - Nothing that fails here ends the process, and what is logged is said again
//     only when it changes, or after a day.
package updater
