package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var updatesCharts = []chart{
	{ID: "spread", Section: "spread", Title: "How releases spread", Doc: "Share of instances that run a release or a newer one, of the newest that any runs. Versions that too few run are in no share, so that the true ones may be greater.", Of: "Instances",
		Form: portion, Metric: wire.InstancesVersion, Derived: "/spread", Whole: "all", Wide: true, Overview: true,
		None: "No instance told its version in this range."},
	{ID: "update-attempts", Section: "updates", Title: "Updates", Doc: "Attempts of Caddy to update itself, by how they ended.", Of: "Attempts",
		Form: area, Metric: wire.UpdateAttempts, Ask: "by=time,update_result", Own: true,
		None: "No Caddy updated itself in this range."},
	{ID: "update-causes", Section: "updates", Title: "Why updates failed", Doc: "Attempts by cause and result.", Of: "Attempts",
		Form: split, Metric: wire.UpdateAttempts, Ask: "by=update_cause,update_result&limit=200", Columns: "update_result", Own: true,
		None: "No Caddy updated itself in this range."},
	{ID: "update-versions", Section: "updates", Title: "Updates by version", Doc: "Attempts by the version that serves afterwards and by result.", Of: "Attempts",
		Form: split, Metric: wire.UpdateAttempts, Ask: "facet=version&by=value,update_result&limit=200", Columns: "update_result",
		None: "No Caddy updated itself in this range."},
	{ID: "update-steps", Section: "updates", Title: "Where attempts ended", Doc: "Attempts by the step that they ended in and by result.", Of: "Attempts",
		Form: split, Metric: wire.UpdateEnded, Ask: "by=update_step,update_result&limit=100", Columns: "update_result",
		None: "No Caddy updated itself in this range."},
	{ID: "update-duration", Section: "updates", Title: "How long updates took", Doc: "Time from an attempt's first step to its end; quantiles by result.",
		Form: columns, Metric: wire.UpdateTime, Ask: "by=update_result&q=0.5,0.9", Quantiles: true,
		None: "No Caddy updated itself in this range."},
	{ID: "update-step-duration", Section: "updates", Title: "How long each step took", Doc: "Time of each step of an attempt; quantiles by step.",
		Form: columns, Metric: wire.UpdateStepTime, Ask: "by=update_step&q=0.5,0.9", Quantiles: true,
		None: "No Caddy updated itself in this range."},
	{ID: "update-bytes", Section: "updates", Title: "Bytes downloaded for an update", Doc: "Size of downloads for attempts; quantiles by what was downloaded.",
		Form: columns, Metric: wire.UpdateBytes, Ask: "by=update_method&q=0.5,0.9", Quantiles: true,
		None: "No Caddy downloaded an update in this range."},
}
