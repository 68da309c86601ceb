package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var hstsCharts = []chart{
	{ID: "hsts-plain", Section: "hsts", Title: "Clients that do not honour HSTS", Doc: "Requests over plain HTTP of clients that are bound to TLS for that host, as a share of the requests over TLS of such clients.",
		Form: rank, Metric: wire.HSTSPlainAfter, Ask: "by=client_family&limit=14", Base: wire.HSTSTLSAfter, Own: true,
		None: "No client came over plain HTTP that was bound to TLS, in this range."},
	{ID: "hsts-after", Section: "hsts", Title: "Clients that do", Doc: "Requests over TLS of clients that are remembered as bound to use it for that host.",
		Form: rank, Metric: wire.HSTSTLSAfter, Ask: "by=client_family&limit=14", Own: true,
		None: "No client that came back was known to be bound by HSTS in this range."},
	{ID: "hsts-occasions", Section: "hsts", Title: "Plain HTTP after HSTS", Doc: "Requests over plain HTTP of bound clients: the first since the policy was given, and more.",
		Form: area, Metric: wire.HSTSPlainAfter, Ask: "by=time,occasion", Own: true,
		None: "No client came over plain HTTP that was bound to TLS, in this range."},
	{ID: "hsts-given", Section: "hsts", Title: "Policies remembered", Doc: "Responses over TLS with a valid policy: the first for a client and host, another, or one that ends it.", Of: "Responses",
		Form: split, Metric: wire.HSTSGiven, Ask: "by=client_family,occasion&limit=100", Columns: "occasion", Own: true,
		None: "No response had a Strict-Transport-Security header in this range."},
	{ID: "hsts-policies", Section: "hsts", Title: "Policies", Doc: "Responses over TLS by the life of the policy in their header.", Of: "Responses",
		Form: rank, Metric: wire.HSTSPolicies, Ask: "by=max_age&limit=10", Own: true,
		None: "No response was sent over TLS in this range."},
	{ID: "hsts-preload", Section: "hsts", Title: "Subdomains and preload", Doc: "Responses over TLS by whether the policy includes subdomains and agrees to be preloaded.", Of: "Responses",
		Form: rank, Metric: wire.HSTSPolicies, Ask: "by=subdomains,preload&limit=9", Own: true,
		None: "No response was sent over TLS in this range."},
	{ID: "hsts-evictions", Section: "hsts", Title: "Forgotten too early", Doc: "Clients and hosts that an instance forgot before their policy ended, to make room.", Of: "Forgotten",
		Form: line, Metric: wire.HSTSEvictions, Ask: "by=time",
		None: "No server forgot a client to make room in this range."},
}
