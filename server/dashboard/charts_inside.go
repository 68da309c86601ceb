package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var insideCharts = []chart{
	{ID: "handler-errors", Section: "errors", Title: "Handler errors", Doc: "Requests whose handlers returned an error, by its status.",
		Form: rank, Metric: wire.HTTPHandlerErrors, Ask: "by=status&limit=8", Own: true},
	{ID: "panics", Section: "errors", Title: "Panics", Doc: "Requests whose handler panicked.",
		Form: rank, Metric: wire.HTTPPanics, Ask: "by=protocol", Own: true},
	{ID: "dropped", Section: "errors", Title: "Dropped reports", Doc: "Reports that the instance could not deliver and had to drop.",
		Form: rank, Metric: wire.TelemetryDroppedReports, Ask: "by=reason", Own: true},
	{ID: "dropped-windows", Section: "errors", Title: "Dropped windows", Doc: "Windows of five minutes that were in reports which could not be delivered.",
		Form: rank, Metric: wire.TelemetryDroppedWindows, Ask: "by=reason", Own: true},
}
