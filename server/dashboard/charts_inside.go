package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var insideCharts = []chart{
	{ID: "handler-errors", Section: "faults", Title: "Handler errors", Doc: "Requests whose handlers returned an error, by its status.",
		Form: rank, Metric: wire.HTTPHandlerErrors, Ask: "by=status&limit=8", Own: true,
		None: "No handler failed in this range."},
	{ID: "version-answers", Section: "answers", Title: "Answers by Caddy version", Doc: "Requests in the range by the server's version and the first digit of the status code.",
		Form: split, Metric: wire.HTTPRequestsMethod, Ask: "facet=version&by=value,status_class&limit=200", Columns: "status_class", Wide: true},
	{ID: "version-errors", Section: "faults", Title: "Failed handlers by Caddy version", Doc: "Share of the requests to servers of a version whose handlers returned an error, by the first digit of its status.", Of: "Requests",
		Form: matrix, Metric: wire.CaddyHandlerErrors, Ask: "facet=version&by=value,status_class&limit=200", Columns: "status_class", Base: wire.HTTPRequests, Wide: true,
		None: "No handler failed in this range."},
	{ID: "panics", Section: "faults", Title: "Panics", Doc: "Requests whose handler panicked.",
		Form: rank, Metric: wire.HTTPPanics, Ask: "by=protocol", Own: true,
		None: "No handler panicked in this range."},
	{ID: "dropped", Section: "missing", Title: "Dropped reports", Doc: "Reports that the instance could not deliver and had to drop.",
		Form: rank, Metric: wire.TelemetryDroppedReports, Ask: "by=reason", Own: true,
		None: "No report was dropped in this range."},
	{ID: "dropped-windows", Section: "missing", Title: "Dropped windows", Doc: "Windows of five minutes that were in reports which could not be delivered.",
		Form: rank, Metric: wire.TelemetryDroppedWindows, Ask: "by=reason", Own: true,
		None: "No report was dropped in this range."},
}
