package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

// What is held counts in every window: sums over a range say shares, no numbers.
var certificatesCharts = []chart{
	{ID: "issued", Section: "issuance", Title: "Certificates issued", Doc: "Certificates that Caddy got, by issuer.", Of: "Certificates",
		Form: area, Metric: wire.CertificatesIssued, Ask: "by=time,certificate_issuer", Own: true},
	{ID: "issued-occasions", Section: "issuance", Title: "First or renewed", Doc: "Certificates that Caddy got, by issuer, first for their name or renewed.", Of: "Certificates",
		Form: split, Metric: wire.CertificatesIssued, Ask: "by=certificate_issuer,certificate_occasion&limit=60", Columns: "certificate_occasion", Own: true},
	{ID: "issuance-failures", Section: "issuance", Title: "Failed", Doc: "Share of the times that Caddy set out to get a certificate in which no issuer gave one; retries count each.", Of: "Failed",
		Form: rank, Metric: wire.CertificatesFailed, Ask: "by=certificate_occasion", Base: wire.CertificatesAttempts, Own: true},
	{ID: "issuance-attempts", Section: "issuance", Title: "Attempts", Doc: "Times that Caddy set out to get a certificate.", Of: "Attempts",
		Form: area, Metric: wire.CertificatesAttempts, Ask: "by=time,certificate_occasion", Own: true},
	{ID: "issuance-causes", Section: "issuance", Title: "Why issuance failed", Doc: "Times that no issuer gave a certificate, by the last issuer's error: an ACME problem type, or what went wrong on the way.", Of: "Failed",
		Form: rank, Metric: wire.CertificatesFailed, Ask: "by=certificate_cause&limit=14", Own: true},
	{ID: "issuance-issuers", Section: "issuance", Title: "Whose issuance failed", Doc: "Times that no issuer gave a certificate, by the last issuer and its error.", Of: "Failed",
		Form: split, Metric: wire.CertificatesFailed, Ask: "by=certificate_cause,certificate_issuer&limit=400", Columns: "certificate_cause", Own: true},
	{ID: "revoked", Section: "issuance", Title: "Found revoked", Doc: "Times that Caddy found a managed certificate revoked by OCSP and set out to replace it.", Of: "Certificates",
		Form: line, Metric: wire.CertificatesRevoked, Ask: "by=time", Own: true},

	{ID: "held", Section: "held", Title: "How they are managed", Doc: "Certificates in the cache, at each window's end, by how they come there and who issued them.", Of: "Certificate windows",
		Form: split, Metric: wire.CertificatesHeld, Ask: "by=certificate_issuer,management&limit=60", Columns: "management", Own: true},
	{ID: "held-keys", Section: "held", Title: "Keys", Doc: "Certificates in the cache, at each window's end, by kind and size of key.", Of: "Certificate windows",
		Form: split, Metric: wire.CertificatesKeys, Ask: "by=key_type,management&limit=60", Columns: "management", Own: true},
	{ID: "held-expiry", Section: "held", Title: "Time to expiry", Doc: "Share of the certificates in the cache by the time until they expire.", Of: "Certificate windows",
		Form: share, Metric: wire.CertificatesExpiry, Ask: "by=time,expiry", Own: true},
	{ID: "held-days", Section: "held", Title: "Days to expiry", Doc: "Quantiles of whole days until a certificate in the cache expires, by how it comes there. The scale is logarithmic.",
		Form: columns, Metric: wire.CertificatesDays, Ask: "by=management&q=0.1,0.5,0.9", Quantiles: true, Own: true},
	{ID: "held-ocsp", Section: "held", Title: "OCSP", Doc: "Certificates in the cache, at each window's end, by what the newest OCSP response says of them.", Of: "Certificate windows",
		Form: rank, Metric: wire.CertificatesOCSP, Ask: "by=ocsp_status", Own: true},
	{ID: "held-names", Section: "held", Title: "Names", Doc: "Certificates in the cache, at each window's end, by how many names and addresses each is for.", Of: "Certificate windows",
		Form: rank, Metric: wire.CertificatesNames, Ask: "by=count&limit=10", Own: true},
	{ID: "chain-length", Section: "held", Title: "Chain length", Doc: "Mean number of certificates in the chain that a handshake's certificate was chosen with.",
		Form: line, Metric: wire.CertificatesChain, Ask: "by=time&q=0.5", Quantiles: true, Mean: true, Own: true},
	{ID: "chain-lengths", Section: "held", Title: "Distribution of chain lengths", Doc: "Quantiles of the number of certificates in the chain.",
		Form: line, Metric: wire.CertificatesChain, Ask: "by=time&q=0.1,0.5,0.9", Quantiles: true},
	{ID: "chain-size", Section: "held", Title: "Chain size", Doc: "Quantiles of the size of the chain's certificates, in DER.",
		Form: line, Metric: wire.CertificatesChainSize, Ask: "by=time&q=0.5,0.9,0.99", Quantiles: true, Own: true},
	{ID: "unseen", Section: "held", Title: "Not looked at", Doc: "Certificates beyond the 8,192 names that an instance looks at; they are in none of these figures.", Of: "Certificates",
		Form: line, Metric: wire.CertificatesUnseen, Ask: "by=time", Own: true},
}
