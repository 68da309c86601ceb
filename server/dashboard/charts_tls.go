package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var tlsCharts = []chart{
	{ID: "ways", Section: "outcomes", Title: "From client to key exchange, or to failure", Doc: "TLS connections: those that had a request by family of clients, version and key exchange; those whose handshake failed by the library that their ClientHello looks like and the cause.", Of: "Connections",
		Form: sankey, Metric: wire.ConnectionFeatures, Derived: "/ways", Flow: []string{"client", "handshake", "outcome"}, Wide: true, Overview: true},
	{ID: "alert-ways", Section: "outcomes", Title: "Who raises which alert", Doc: "The first alert of each side in handshakes that were not completed, from the library that the ClientHello looks like.", Of: "Alerts",
		Form: sankey, Metric: wire.TLSAlerts, Ask: "by=alert,side,tls_library&limit=24", Flow: []string{"tls_library", "side", "alert"}, Wide: true,
		None: "No alert was sent in a handshake that failed, in this range."},
	{ID: "tls", Section: "encryption", Title: "TLS versions", Doc: "Share of completed handshakes.",
		Form: share, Metric: wire.TLSConnections, Ask: "by=time,tls_version", Own: true},
	{ID: "groups", Section: "encryption", Title: "Key exchange", Doc: "Handshakes in the range by group; MLKEM resists quantum computers.",
		Form: rank, Metric: wire.TLSGroups, Ask: "by=group&limit=8", Own: true},
	{ID: "ciphers", Section: "negotiated", Title: "Cipher suites", Doc: "Handshakes in the range by cipher suite.",
		Form: rank, Metric: wire.TLSConnections, Ask: "by=cipher_suite&limit=8", Own: true},
	{ID: "resumption", Section: "negotiated", Title: "Resumption", Doc: "Full handshakes and resumed sessions.",
		Form: rank, Metric: wire.TLSConnections, Ask: "by=resumption", Own: true},
	{ID: "alpn", Section: "negotiated", Title: "Application protocols", Doc: "Share of completed handshakes by the protocol that was negotiated in them; none offered none.",
		Form: share, Metric: wire.TLSALPN, Ask: "by=time,alpn", Own: true},
	{ID: "sni", Section: "negotiated", Title: "Server names", Doc: "Share of completed handshakes with a server name (SNI) and without.",
		Form: share, Metric: wire.TLSSNI, Ask: "by=time,presence", Own: true},
	{ID: "groups-version", Section: "encryption", Title: "Key exchange by TLS version", Doc: "Handshakes in the range by TLS version and key exchange group.",
		Form: split, Metric: wire.TLSGroups, Ask: "by=group,tls_version", Columns: "group"},
	{ID: "groups-country", Section: "encryption", Title: "Key exchange by country", Doc: "Handshakes in the range by the country of the server and key exchange group.",
		Form: split, Metric: wire.TLSGroups, Ask: "facet=country&by=value,group&limit=80", Columns: "group"},
}
