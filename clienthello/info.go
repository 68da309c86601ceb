package clienthello

import "crypto/tls"

// FromClientHelloInfo fills h with what crypto/tls tells of a hello, which is all
// there is over QUIC. JA4 is the same as from the message. What crypto/tls leaves out
// is guessed or missing: LegacyVersion is what the standard demands (JA3 depends on it),
// Length and SessionIDLength are 0, Compressions, KeyShares, PSKModes and
// CertCompressions are empty, and SessionTicket is false. The lists are copied.
func (h *Hello) FromClientHelloInfo(info *tls.ClientHelloInfo, over Transport) {
	h.reset()
	h.Transport = over
	h.CipherSuites = append(h.CipherSuites, info.CipherSuites...)
	h.Extensions = append(h.Extensions, info.Extensions...)
	h.ServerName = info.ServerName
	for _, g := range info.SupportedCurves {
		h.Groups = append(h.Groups, uint16(g))
	}
	h.PointFormats = append(h.PointFormats, info.SupportedPoints...)
	for _, s := range info.SignatureSchemes {
		h.SignatureSchemes = append(h.SignatureSchemes, uint16(s))
	}
	h.ALPN = append(h.ALPN, info.SupportedProtos[:min(len(info.SupportedProtos), maxALPN)]...)
	// Without supported_versions crypto/tls derives the versions from the legacy one.
	highest := uint16(0)
	for _, v := range info.SupportedVersions {
		if !IsGREASE(v) {
			highest = max(highest, v)
		}
	}
	h.LegacyVersion = min(highest, tls.VersionTLS12)
	if h.HasExtension(extVersions) {
		h.Versions = append(h.Versions, info.SupportedVersions...)
	}
	h.ECH = h.HasExtension(extECH)
	h.EarlyData = h.HasExtension(extEarlyData)
	h.PSK = h.HasExtension(extPSK)
}
