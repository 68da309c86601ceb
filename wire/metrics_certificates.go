package wire

// Metrics about certificates.
const (
	CertificatesIssued MetricID = iota + 150
	CertificatesAttempts
	CertificatesFailed
	CertificatesRevoked
	CertificatesHeld
	CertificatesKeys
	CertificatesNames
	CertificatesOCSP
	CertificatesExpiry
	CertificatesDays
	CertificatesChain
	CertificatesChainSize
	CertificatesUnseen
)

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
	CertificateIssuer = dimension("certificate_issuer", "Who issues a certificate; none if Caddy did not obtain it, acme for an ACME server that has no name here.",
		"none", "letsencrypt", "letsencrypt-staging", "zerossl", "google", "google-staging", "buypass", "ssl.com", "sectigo",
		"digicert", "actalis", "internal", "acme")
	CertificateManagement = dimension("management", "How a certificate comes into Caddy: obtained beforehand, obtained in a handshake, or loaded from what the configuration names.",
		"automatic", "on-demand", "loaded")
	CertificateOccasion = dimension("certificate_occasion", "Whether a certificate is the first for its name, or replaces one that nears its end.",
		"obtain", "renew")
	CertificateCause = dimension("certificate_cause", "Why no certificate was issued. With acme: the ACME server's problem type (RFC 8555, section 6.7); with ca: what went wrong on the way to it, or with its answers (ca:api: ZeroSSL's own API); with challenge: there was no way to prove the name, what Caddy set up for it failed, or its DNS record did not appear; name, the CA gives none for such a name; account and config, the ACME account's or the issuer's settings; timeout and canceled, wherever it was; storage, in Caddy's own.",
		"acme:accountDoesNotExist", "acme:alreadyReplaced", "acme:alreadyRevoked", "acme:badCSR", "acme:badNonce", "acme:badPublicKey",
		"acme:badRevocationReason", "acme:badSignatureAlgorithm", "acme:caa", "acme:compound", "acme:connection", "acme:dns",
		"acme:externalAccountRequired", "acme:incorrectResponse", "acme:invalidContact", "acme:invalidProfile", "acme:malformed",
		"acme:orderNotReady", "acme:rateLimited", "acme:rejectedIdentifier", "acme:serverInternal", "acme:tls", "acme:unauthorized",
		"acme:unsupportedContact", "acme:unsupportedIdentifier", "acme:userActionRequired", "acme:other",
		"ca:dns", "ca:refused", "ca:reset", "ca:unreachable", "ca:tls", "ca:http", "ca:malformed", "ca:api",
		"challenge:none", "challenge:setup", "challenge:propagation",
		"name", "account", "config", "timeout", "canceled", "storage")
	KeyType = dimension("key_type", "Kind and size of a certificate's key.",
		"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-1024", "rsa-2048", "rsa-3072", "rsa-4096", "rsa-larger")
	OCSPStatus = dimension("ocsp_status", "What the newest OCSP response that Caddy holds says of a certificate; stale if it has run out and is not of a revoked one. Without a response: the certificate names no responder, the configuration has nobody asked (off), or nobody answered.",
		"no_responder", "off", "unanswered", "good", "revoked", "unknown", "stale")
	ExpiryClass = dimension("expiry", "Time until a certificate expires.",
		"expired", "<1d", "1d-3d", "3d-7d", "7d-14d", "14d-30d", "30d-60d", "60d-90d", "90d-180d", "180d-398d", "398d+")

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
	{CertificatesIssued, "certificates.issued", KindCounter, Events, []*Dimension{CertificateIssuer, CertificateOccasion}, "", placed,
		"Certificates that Caddy got from an issuer."},
	{CertificatesAttempts, "certificates.attempts", KindCounter, Events, []*Dimension{CertificateOccasion}, "", placed,
		"Times that Caddy set out to get a certificate. Each ends as issued or failed, but for those that a reload or the end of Caddy cuts off."},
	{CertificatesFailed, "certificates.failed", KindCounter, Events, []*Dimension{CertificateCause, CertificateIssuer, CertificateOccasion}, "", placed,
		"Times that no issuer gave a certificate, by the last issuer that was asked and its error. Caddy's retries count each. If Caddy's own storage failed before an issuer was asked or after it issued, the issuer is none."},
	{CertificatesRevoked, "certificates.revoked", KindCounter, Events, nil, "", placed,
		"Times that Caddy found one of its managed certificates revoked by OCSP and set out to replace it."},
	{CertificatesHeld, "certificates.held", KindCounter, Events, []*Dimension{CertificateManagement, CertificateIssuer}, "", placed,
		"Certificates in Caddy's cache at the end of a window: each counts once in every window, so that a sum over time is to be divided by the number of windows."},
	{CertificatesKeys, "certificates.held.keys", KindCounter, Events, []*Dimension{KeyType, CertificateManagement}, "", placed,
		"Certificates in Caddy's cache at the end of a window, by key; each counts once in every window."},
	{CertificatesNames, "certificates.held.names", KindCounter, Events, []*Dimension{CountClass, CertificateManagement}, "", global,
		"Certificates in Caddy's cache at the end of a window, by how many names and addresses each is for; each counts once in every window."},
	{CertificatesOCSP, "certificates.held.ocsp", KindCounter, Events, []*Dimension{OCSPStatus, CertificateManagement}, "", placed,
		"Certificates in Caddy's cache at the end of a window, by what OCSP says; each counts once in every window."},
	{CertificatesExpiry, "certificates.held.expiry", KindCounter, Events, []*Dimension{ExpiryClass, CertificateManagement}, "", placed,
		"Certificates in Caddy's cache at the end of a window, by the time until they expire; each counts once in every window."},
	{CertificatesDays, "certificates.held.days", KindHistogram, Days, []*Dimension{CertificateManagement}, "", global,
		"Whole days until a certificate in Caddy's cache expires, at the end of a window; 0 if it has expired. Each is observed once in every window."},
	{CertificatesChain, "certificates.chain.length", KindHistogram, Events, nil, "", placed,
		"Certificates in the chain that a handshake's server certificate was chosen with, the leaf included. Handshakes that resume a session, and those that validate a domain for ACME, choose none."},
	{CertificatesChainSize, "certificates.chain.size", KindHistogram, Bytes, nil, "", global,
		"Size of that chain's certificates, in DER."},
	{CertificatesUnseen, "certificates.unseen", KindCounter, Events, nil, "", global,
		"Certificates that Caddy cached beyond the 8,192 names that an instance looks at; they are in none of the figures of what is held."},
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
