package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var trafficCharts = []chart{
	{ID: "protocols", Section: "protocols", Title: "Requests by HTTP version", Doc: "Requests answered in each period.",
		Form: area, Metric: wire.HTTPRequests, Ask: "by=time,protocol", Overview: true, Own: true, Wide: true},
	{ID: "classes", Section: "answers", Title: "Status classes", Doc: "Share of requests by the first digit of the status code.",
		Form: share, Metric: wire.HTTPRequestsMethod, Ask: "by=time,status_class", Overview: true, Own: true},
	{ID: "statuses", Section: "answers", Title: "Status codes", Doc: "Requests in the range by exact status code; other was aborted before it had one.",
		Form: rank, Metric: wire.HTTPRequests, Ask: "by=status&limit=8", Own: true},
	{ID: "methods", Section: "traffic", Title: "Methods", Doc: "Requests in the range by method.",
		Form: rank, Metric: wire.HTTPRequestsMethod, Ask: "by=method&limit=8", Own: true},
	{ID: "roles", Section: "traffic", Title: "Sites and redirects", Doc: "Requests to configured sites, and to the server that Caddy adds to redirect HTTP to HTTPS.",
		Form: rank, Metric: wire.HTTPRequests, Ask: "by=role", Own: true},

	{ID: "first-byte", Section: "speed", Title: "Time to first byte", Doc: "Quantiles over all requests of a period, from the start of handling to the first byte of the response.",
		Form: line, Metric: wire.HTTPFirstByte, Ask: "by=time&q=0.5,0.9,0.99", Quantiles: true, Overview: true, Own: true, Wide: true},
	{ID: "first-byte-protocol", Section: "speed", Title: "First byte by HTTP version", Doc: "Quantiles over all requests in the range. The scale is logarithmic.",
		Form: columns, Metric: wire.HTTPFirstByte, Ask: "by=protocol&q=0.5,0.9,0.99", Quantiles: true, Own: true},
	{ID: "duration-protocol", Section: "speed", Title: "Duration by HTTP version", Doc: "Quantiles over all requests in the range, to the end of the response. The scale is logarithmic.",
		Form: columns, Metric: wire.HTTPDuration, Ask: "by=protocol&q=0.5,0.9,0.99", Quantiles: true, Own: true},
	{ID: "request-size", Section: "traffic", Title: "Request size by HTTP version", Doc: "Quantiles of body bytes read. The scale is logarithmic.",
		Form: columns, Metric: wire.HTTPRequestBytes, Ask: "by=protocol&q=0.5,0.9,0.99", Quantiles: true},
	{ID: "response-size", Section: "traffic", Title: "Response size by HTTP version", Doc: "Quantiles of body bytes written. The scale is logarithmic.",
		Form: columns, Metric: wire.HTTPResponseBytes, Ask: "by=protocol&q=0.5,0.9,0.99", Quantiles: true, Own: true},

	{ID: "connections", Section: "network", Title: "Connections", Doc: "Connections, when they end, by the protocol of their first request; other had no request.",
		Form: area, Metric: wire.Connections, Ask: "by=time,protocol", Own: true, Wide: true},
	{ID: "families", Section: "protocols", Title: "IPv4 and IPv6", Doc: "Share of requests by the address family of their connection.",
		Form: share, Metric: wire.HTTPRequestsTransport, Ask: "by=time,family", Own: true},
	{ID: "transport", Section: "network", Title: "Encrypted or plain", Doc: "Requests over TLS and without.",
		Form: rank, Metric: wire.HTTPRequestsTransport, Ask: "by=transport", Own: true},

	{ID: "families-protocol", Section: "protocols", Title: "HTTP version by address family", Doc: "Requests in the range by the address family of their connection and HTTP version.",
		Form: split, Metric: wire.HTTPRequestsTransport, Ask: "by=family,protocol", Columns: "protocol"},
	{ID: "ipv6-country", Section: "protocols", Title: "IPv6 by country", Doc: "Requests in the range by the country of the server and the address family of the connection.",
		Form: split, Metric: wire.HTTPRequestsTransport, Ask: "facet=country&by=value,family&limit=60", Columns: "family"},
	{ID: "upgrades", Section: "network", Title: "Upgrades", Doc: "Connections or streams that a request turned into another protocol.",
		Form: rank, Metric: wire.HTTPUpgrades, Ask: "by=upgrade,protocol&limit=8", Own: true},

	{ID: "aborted", Section: "answers", Title: "Aborted requests", Doc: "Requests that clients gave up on, by how far the response had come.",
		Form: area, Metric: wire.HTTPAborted, Ask: "by=time,phase", Own: true,
		None: "No client gave up on a request in this range."},
	{ID: "peak-requests", Section: "load", Title: "Requests at once", Doc: "The most requests that were handled at the same time in a window; over longer periods, the mean of that.",
		Form: line, Metric: wire.HTTPRequestsPeak, Ask: "by=time&q=0.5", Quantiles: true, Mean: true, Own: true},
	{ID: "peak-connections", Section: "load", Title: "Connections at once", Doc: "The most connections that were open at the same time in a window; over longer periods, the mean of that.",
		Form: line, Metric: wire.ConnectionsPeak, Ask: "by=time&q=0.5", Quantiles: true, Mean: true, Own: true},
}
