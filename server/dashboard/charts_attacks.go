package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var attacksCharts = []chart{
	{ID: "incidents", Section: "incidents", Title: "Incidents", Doc: "Incidents that ended in each period, by kind.", Of: "Incidents",
		Form: area, Metric: wire.AttackIncidents, Ask: "by=time,incident_kind", Own: true, Wide: true, Overview: true},
	{ID: "incident-kinds", Section: "incidents", Title: "Kinds of incident", Doc: "Incidents that ended in the range.", Of: "Incidents",
		Form: rank, Metric: wire.AttackIncidents, Ask: "by=incident_kind&limit=12", Own: true, Overview: true},
	{ID: "incident-sources", Section: "incidents", Title: "How many sources", Doc: "Incidents by kind and by the number of networks (/24 or /48) that they came from.", Of: "Incidents",
		Form: split, Metric: wire.AttackIncidents, Ask: "by=incident_kind,source_class&limit=200", Columns: "source_class", Own: true},
	{ID: "incident-events", Section: "incidents", Title: "How much", Doc: "Requests, connections and streams that incidents consisted of.", Of: "Events",
		Form: rank, Metric: wire.AttackIncidentEvents, Ask: "by=incident_kind&limit=12", Own: true},
	{ID: "incident-durations", Section: "incidents", Title: "How long", Doc: "Quantiles of the length of incidents in the range; an hour is the most that is told. The scale is logarithmic.",
		Form: columns, Metric: wire.AttackIncidentDuration, Ask: "by=incident_kind&q=0.5,0.9", Quantiles: true, Own: true, Wide: true},
	{ID: "incident-countries", Section: "incidents", Title: "Who is attacked", Doc: "Incidents by the country of the server and by kind.", Of: "Incidents",
		Form: split, Metric: wire.AttackIncidents, Ask: "facet=country&by=value,incident_kind&limit=400", Columns: "incident_kind"},
	{ID: "incident-networks", Section: "incidents", Title: "Networks told", Doc: "Source networks that were sent with incidents, to be looked up and forgotten by the collector.", Of: "Networks",
		Form: rank, Metric: wire.AttackNetworks, Ask: "by=incident_kind&limit=12", Own: true},

	{ID: "behaviour", Section: "behaviour", Title: "Behaviour", Doc: "Requests and connections that did what attacks do, in each period; one may count for several.", Of: "Requests or connections",
		Form: area, Metric: wire.AttackBehaviour, Ask: "by=time,behaviour", Own: true, Wide: true},
	{ID: "scans", Section: "behaviour", Title: "What scanners look for", Doc: "Requests in the range for paths that vulnerability scanners ask for.",
		Form: rank, Metric: wire.AttackScans, Ask: "by=scan_class&limit=12", Own: true, Overview: true},
	{ID: "scan-answers", Section: "behaviour", Title: "What scanners got", Doc: "Requests for such paths by what was answered: 2xx may be a page that every path gets, or a hit.",
		Form: split, Metric: wire.AttackScans, Ask: "by=scan_class,status_class&limit=200", Columns: "status_class", Own: true},
	{ID: "sources", Section: "behaviour", Title: "Sources in a minute", Doc: "Minutes with traffic by the number of different networks (/24 or /48) that it came from.", Of: "Minutes",
		Form: rank, Metric: wire.AttackSourceMinutes, Ask: "by=source_class&limit=12", Own: true},
	{ID: "minute-fingerprints", Section: "behaviour", Title: "Fingerprints in a minute", Doc: "Minutes with a ClientHello by the number of different fingerprints.", Of: "Minutes",
		Form: rank, Metric: wire.AttackFingerprintMinute, Ask: "by=source_class&limit=12", Own: true},
}
