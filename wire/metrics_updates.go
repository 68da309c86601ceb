package wire

// The numbers of the metrics of updates: 240 to 249.
const (
	UpdateAttempts MetricID = 240
	UpdateEnded    MetricID = 241
	UpdateStepTime MetricID = 242
	UpdateTime     MetricID = 243
	UpdateBytes    MetricID = 244
)

// The vocabularies of updates.
var (
	UpdateResult = dimension("update_result", "How an attempt to update ended: the new executable was watched and does no harm; it did, and the one before runs again; or it did not get to serve.",
		"healthy", "rolled-back", "failed")
	UpdateStep = dimension("update_step", "Step of an update.",
		"checked", "downloading", "verified", "rehearsing", "switching", "watching")
	UpdateCause = dimension("update_cause", "Why an attempt to update ended as it did, by class and never by its text; none if it ended well.",
		"none", "network", "service", "space", "storage", "execute", "kernel", "signature", "mismatch", "older", "modules", "rehearsal",
		"switch", "start", "crash", "harm", "person", "superseded")
	UpdateMethod = dimension("update_method", "What was downloaded: a delta from the running executable, the executable as a Zstandard frame, or the executable itself.",
		"bsdiff", "zstd-patch", "zstd", "whole")
)

// updateMetrics are about updates of Caddy by itself.
var updateMetrics = []*Metric{
	{UpdateAttempts, "updates.attempts", KindCounter, Events, []*Dimension{UpdateResult, UpdateCause}, "", everywhere,
		"Attempts to update, when they ended, by result and cause. The version is that of the executable that serves afterwards."},
	{UpdateEnded, "updates.attempts.step", KindCounter, Events, []*Dimension{UpdateStep, UpdateResult}, "", placed,
		"The same attempts by the step that they ended in."},
	{UpdateStepTime, "updates.step.duration", KindHistogram, Microseconds, []*Dimension{UpdateStep}, "", global,
		"How long each step of an attempt took, waiting for a maintenance window included; over an hour is in the last bucket."},
	{UpdateTime, "updates.duration", KindHistogram, Microseconds, []*Dimension{UpdateResult}, "", global,
		"How long attempts took from their first step to their end; over an hour is in the last bucket."},
	{UpdateBytes, "updates.download.size", KindHistogram, Bytes, []*Dimension{UpdateMethod}, "", placed,
		"Bytes downloaded for an attempt, by what was downloaded."},
}
