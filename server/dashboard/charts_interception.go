package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var interceptionCharts = []chart{
	{ID: "verdicts", Section: "verdicts", Title: "User-Agent/TLS mismatch", Doc: "Connections over TCP that had a request, by whether the ClientHello fits the client that the first User-Agent names. A raw share: proxies, and programs that pretend to be browsers.", Of: "Connections",
		Form: share, Metric: wire.TLSInterception, Ask: "by=time,verdict", Own: true, Wide: true, Overview: true},
	{ID: "intercepted-clients", Section: "verdicts", Title: "Likely intercepted, by client", Doc: "Share of the connections that could be judged, corrected by how often the judgement errs, with its confidence interval. The judgement was measured with browsers only.",
		Form: likely, Metric: wire.TLSInterception, Ask: "by=client_family"},
	{ID: "intercepted-countries", Section: "verdicts", Title: "Likely intercepted, by country", Doc: "The same for the connections of Chromium browsers, Firefox and Safari, by the country of the server.",
		Form: likely, Metric: wire.TLSInterception, Ask: "by=country"},
	{ID: "verdict-clients", Section: "verdicts", Title: "Mismatch by client", Doc: "Connections in the range by the family that the User-Agent names and by verdict; raw shares.", Of: "Connections",
		Form: split, Metric: wire.TLSInterception, Ask: "by=client_family,verdict&limit=200", Columns: "verdict", Own: true},
	{ID: "verdict-countries", Section: "verdicts", Title: "Mismatch by country", Doc: "Connections in the range by the country of the server and by verdict; raw shares.", Of: "Connections",
		Form: split, Metric: wire.TLSInterception, Ask: "facet=country&by=value,verdict&limit=400", Columns: "verdict"},
	{ID: "interceptors", Section: "verdicts", Title: "What mismatches look like", Doc: "Connections whose ClientHello does not fit their User-Agent, by the library that it looks like, which tells the interceptor's kind.", Of: "Connections",
		Form: rank, Metric: wire.TLSInterceptionLibraries, Ask: "by=tls_library&limit=12&where.verdict=inconsistent", Own: true,
		None: "No connection was inconsistent with its User-Agent in this range."},
}
