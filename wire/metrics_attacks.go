package wire

const (
	AttackBehaviour         MetricID = 180
	AttackScans             MetricID = 181
	AttackIncidents         MetricID = 182
	AttackIncidentEvents    MetricID = 183
	AttackIncidentDuration  MetricID = 184
	AttackSourceMinutes     MetricID = 185
	AttackFingerprintMinute MetricID = 186
	AttackNetworks          MetricID = 187
)

var (
	IncidentKind = dimension("incident_kind", "Kind of an incident.",
		"request_flood", "handshake_flood", "connection_flood", "slow_requests", "scan", "credential_stuffing",
		"not_found_burst", "error_burst", "protocol_violation", "rapid_reset")
	ScanClass = dimension("scan_class", "What a request for a path that this server is most unlikely to have was looking for.",
		"wordpress", "phpmyadmin", "env_files", "git", "cgi", "router", "backups", "admin", "injection", "traversal",
		"php", "webshell", "java", "microsoft", "cloud_metadata", "vpn", "debug", "joomla", "drupal", "ssh_keys", "proxy")
	SourceClass = dimension("source_class", "A number of different ones, by class.",
		"1", "2-4", "5-16", "17-64", "65-256", "257-1024", "1025-4096", "4097-16384", "16385-65536", "65537-262144", "262145+")
	Behaviour = dimension("behaviour", "What was unusual about a request or a connection.",
		"scan", "denied", "not_found", "server_error", "bad_request", "slow", "aborted", "silent", "handshake_abandoned", "reset_streams")
)

// attackMetrics are about abnormal clients and incidents.
var attackMetrics = []*Metric{
	{AttackBehaviour, "attacks.behaviour", KindCounter, Events, []*Dimension{Behaviour, Family}, "", placed,
		"Requests and connections that behaved in a way that attacks do, most often for a harmless reason: a request for a path of a scan, " +
			"one denied with 401 or 403, not found (404 or 410), answered with 500 to 599, refused with 400, 405, 408, 414 or 431, one whose client was slow to send or to read, " +
			"or gave up before the answer; a plain connection without a request, a TLS connection that ended before its handshake was complete, " +
			"and one that gave up more than 100 requests. One request counts once for each."},
	{AttackScans, "attacks.scans", KindCounter, Events, []*Dimension{ScanClass, StatusClass}, "", placed,
		"Requests for paths that vulnerability scanners ask for, by what they look for and by what the server answered."},
	{AttackIncidents, "attacks.incidents", KindCounter, Events, []*Dimension{IncidentKind, SourceClass}, "", placed,
		"Incidents that ended, by kind and by the number of source networks (/24 or /48). Switched off, no incident is sent."},
	{AttackIncidentEvents, "attacks.incidents.events", KindCounter, Events, []*Dimension{IncidentKind}, "", placed,
		"Requests, connections and streams that incidents consisted of, counted when the incident ended."},
	{AttackIncidentDuration, "attacks.incidents.duration", KindHistogram, Microseconds, []*Dimension{IncidentKind}, "", placed,
		"How long incidents were, from the first minute to the last; those of an hour and more are in the last bucket."},
	{AttackSourceMinutes, "attacks.sources", KindCounter, Events, []*Dimension{SourceClass}, "", placed,
		"Minutes with a request or connection, by how many different source networks (/24 or /48) they came from."},
	{AttackFingerprintMinute, "attacks.fingerprints", KindCounter, Events, []*Dimension{SourceClass}, "", placed,
		"Minutes with a ClientHello, by how many different fingerprints there were."},
	{AttackNetworks, "attacks.networks", KindCounter, Events, []*Dimension{IncidentKind}, "", placed,
		"Source networks that were sent with incidents, for the collector to look up and forget. Switched off, none is sent, and incidents are sent without."},
}
