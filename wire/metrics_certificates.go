package wire

// Metrics about HSTS.
const (
	HSTSPolicies MetricID = iota + 170
	HSTSGiven
	HSTSTLSAfter
	HSTSPlainAfter
	HSTSEvictions
)

// The vocabularies of certificates and HSTS.
var (
	HSTSMaxAge = dimension("max_age", "Life of an HSTS policy; none if there was no header, invalid if browsers ignore it.",
		"none", "invalid", "0", "<1d", "1d-30d", "30d-180d", "180d-1y", "1y-2y", "2y+")
	HSTSSubDomains = dimension("subdomains", "Whether an HSTS policy includes the host's subdomains.",
		"included", "not-included")
	HSTSPreload = dimension("preload", "Whether an HSTS policy agrees to be in the browsers' preload lists.",
		"preload", "no-preload")
	HSTSOccasion = dimension("occasion", "Whether it is the first time that a client and a host are remembered for.",
		"first", "again", "removed")
)

// certificateMetrics are about certificates and HSTS.
var certificateMetrics = []*Metric{
	{HSTSPolicies, "hsts.policies", KindCounter, Events, []*Dimension{HSTSMaxAge, HSTSSubDomains, HSTSPreload}, "", placed,
		"Responses over TLS, by their Strict-Transport-Security header."},
	{HSTSGiven, "hsts.given", KindCounter, Events, []*Dimension{ClientFamily, HSTSOccasion}, "", placed,
		"Responses over TLS with a valid Strict-Transport-Security header for a host that is no address: the first that this client and host are remembered for, another (again), or one with max-age 0 or below a minute that ends a remembered one (removed). Requests that came through a proxy are not counted."},
	{HSTSTLSAfter, "hsts.tls_after", KindCounter, Events, []*Dimension{ClientFamily}, "", placed,
		"Requests over TLS of clients that are remembered as bound by HSTS to use it for that host."},
	{HSTSPlainAfter, "hsts.plain_after", KindCounter, Events, []*Dimension{ClientFamily, HSTSOccasion}, "", placed,
		"Requests over plain HTTP of clients that are remembered as bound by HSTS not to use it for that host: the first since the policy was given, or another (again). Requests that came through a proxy are not counted."},
	{HSTSEvictions, "hsts.evictions", KindCounter, Events, nil, "", global,
		"Clients and hosts that were forgotten before their HSTS policy ended, to make room."},
}
