package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var adoptionCharts = []chart{
	{ID: "versions-time", Section: "versions", Title: "Caddy versions over time", Doc: "Instances that reported in each period, by version; an instance that changes its version counts with both in that period.", Of: "Instances",
		Form: area, Metric: wire.InstancesVersion, Ask: "by=time,label&limit=8", Wide: true, Overview: true},
	{ID: "joined-left", Section: "versions", Title: "Joined and left", Doc: "Instances of each complete period that were not there in the one before, and those that were there in the one before only; estimated from sketches. Who is silent for a period has left, and joins again.", Of: "Instances",
		Form: line, Metric: wire.InstancesActive, Derived: "/churn",
		None: "There are no two complete periods in this range to compare; periods are hours, or days where the range is longer than two."},
	{ID: "go-time", Section: "versions", Title: "Go versions over time", Doc: "Instances that reported in each period, by the Go version that Caddy was built with.", Of: "Instances",
		Form: area, Metric: wire.InstancesGo, Ask: "by=time,label&limit=8"},
	{ID: "plugins-time", Section: "versions", Title: "Plugins over time", Doc: "Plugins compiled in, by name and version, at the instances that reported in each period. One instance may have several.", Of: "Instances",
		Form: area, Metric: wire.InstancesPlugins, Ask: "by=time,label&limit=8", Wide: true,
		None: "No instance in this range has a plugin that is not Caddy's own."},
	{ID: "groups-time", Section: "encryption", Title: "Key exchange over time", Doc: "Share of completed handshakes by group; MLKEM resists quantum computers.", Of: "Handshakes",
		Form: share, Metric: wire.TLSGroups, Ask: "by=time,group&limit=8", Own: true},
}
