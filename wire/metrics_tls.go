package wire

// What TLS tells: what ClientHellos advertise, what is negotiated, why
// handshakes fail, and which connections are intercepted.
const (
	TLSHelloSuites           MetricID = 44
	TLSHelloGroups           MetricID = 45
	TLSHelloKeyShares        MetricID = 46
	TLSHelloSchemes          MetricID = 47
	TLSHelloVersions         MetricID = 48
	TLSHelloLegacyVersions   MetricID = 49
	TLSHelloALPN             MetricID = 50
	TLSHelloExtensions       MetricID = 51
	TLSHelloCompressions     MetricID = 52
	TLSHelloCertCompressions MetricID = 53
	TLSHelloFeatures         MetricID = 54
	TLSHelloSize             MetricID = 55
	TLSHellos                MetricID = 56
	TLSHelloJA4              MetricID = 57
	TLSHelloJA4Unknown       MetricID = 58
	TLSFailures              MetricID = 59
	TLSAlerts                MetricID = 110
	TLSRetries               MetricID = 111
	TLSHandshakeTime         MetricID = 112
	TLSHandshakeBytes        MetricID = 113
	TLSCertificates          MetricID = 114
	ConnectionFeatures       MetricID = 116
	RequestFeatures          MetricID = 117
	TLSInterception          MetricID = 118
	TLSInterceptionLibraries MetricID = 119
	TLSLibraries             MetricID = 120
)

var (
	HelloTransport = dimension("hello_transport", "What a ClientHello came over: TCP (or a unix socket), where it is read in full, or QUIC, where key shares, compression and the legacy version are not seen.",
		"tcp", "quic")
	HelloState = dimension("hello_state", "Whether a ClientHello could be read.",
		"parsed", "malformed")
	HelloFeature = dimension("hello_feature", "Something that a ClientHello has.",
		"grease", "server_name", "ech", "psk", "early_data", "session_ticket", "session_id", "extended_master_secret",
		"renegotiation_info", "status_request", "sct", "padding", "certificate_compression", "delegated_credential",
		"post_quantum_group", "post_quantum_key_share", "post_handshake_auth", "encrypt_then_mac", "heartbeat", "application_settings", "fallback_scsv")
	ByteDirection = dimension("direction", "Who sent the bytes.",
		"client", "server")
	AlertSide = dimension("side", "Who raised the alert.",
		"client", "server")
	Alert = dimension("alert", "TLS alert, by its IANA name.", names(alerts)...)

	TLSFailure = dimension("failure", "Why a TLS handshake was not completed.",
		"connect_and_close", "closed_in_hello", "closed_after_hello", "reset", "timeout", "server_closed",
		"plain_http", "plain_http2", "sslv2", "garbage", "malformed_hello", "protocol_violation",
		"no_common_version", "no_common_suite", "no_common_group", "no_common_alpn", "no_certificate", "no_policy", "dropped_by_policy", "client_certificate",
		"client_unknown_ca", "client_certificate_expired", "client_bad_certificate", "client_certificate_unknown", "client_certificate_revoked", "client_unsupported_certificate",
		"client_protocol_version", "client_handshake_failure", "client_cancelled", "client_alert", "handshake_failure")

	Staple = dimension("staple", "Whether an OCSP response was stapled: the client asked and got one, asked in vain, or did not ask.",
		"stapled", "none", "not_asked")

	ConnectionFeature = dimension("connection_feature", "Something that a connection has; all is every connection, and the base of shares.",
		"all", "tls", "sni", "ech_offered", "ech_accepted", "ipv6", "http3", "pq_offered", "pq_negotiated", "tls13", "resumed", "early_data")
)

var alerts = []codePoint{
	{0, "close_notify"}, {10, "unexpected_message"}, {20, "bad_record_mac"}, {21, "decryption_failed"}, {22, "record_overflow"}, {30, "decompression_failure"},
	{40, "handshake_failure"}, {41, "no_certificate"}, {42, "bad_certificate"}, {43, "unsupported_certificate"}, {44, "certificate_revoked"},
	{45, "certificate_expired"}, {46, "certificate_unknown"}, {47, "illegal_parameter"}, {48, "unknown_ca"}, {49, "access_denied"},
	{50, "decode_error"}, {51, "decrypt_error"}, {52, "too_many_cids_requested"}, {60, "export_restriction"}, {70, "protocol_version"},
	{71, "insufficient_security"}, {80, "internal_error"}, {86, "inappropriate_fallback"}, {90, "user_canceled"}, {100, "no_renegotiation"},
	{109, "missing_extension"}, {110, "unsupported_extension"}, {111, "certificate_unobtainable"}, {112, "unrecognized_name"},
	{113, "bad_certificate_status_response"}, {114, "bad_certificate_hash_value"}, {115, "unknown_psk_identity"}, {116, "certificate_required"},
	{117, "general_error"}, {120, "no_application_protocol"}, {121, "ech_required"},
}

// AlertValue is the value of an alert's number.
func AlertValue(number uint8) Value {
	for i, a := range alerts {
		if a.code == uint16(number) {
			return Value(i + 1)
		}
	}
	return Other
}

// PostQuantum reports whether a group's key exchange resists a quantum computer.
func PostQuantum(group uint16) bool {
	switch group {
	case 4587, 4588, 4589, 512, 513, 514, 25497, 25498, 16696:
		return true
	}
	return false
}

// Each hello is counted once, with the client's family, at its connection's
// first request, or, with family unknown, when a connection without one ends.
var tlsMetrics = []*Metric{
	{TLSHellos, "tls.hello", KindCounter, Events, []*Dimension{HelloState, HelloTransport, ClientFamily}, "", placed,
		"Connections whose first ClientHello was received in full, by whether it could be read. The base of shares of what hellos advertise."},
	{TLSHelloSuites, "tls.hello.suites", KindCounter, Events, []*Dimension{OfferedSuite, ClientFamily}, "", placed,
		"ClientHellos that offer a cipher suite; a hello counts once for each suite of its list."},
	{TLSHelloGroups, "tls.hello.groups", KindCounter, Events, []*Dimension{OfferedGroup, ClientFamily}, "", placed,
		"ClientHellos that support a key exchange group; a hello counts for each."},
	{TLSHelloKeyShares, "tls.hello.key_shares", KindCounter, Events, []*Dimension{OfferedGroup, ClientFamily}, "", placed,
		"ClientHellos over TCP that bring a key share of a group; a hello counts for each."},
	{TLSHelloSchemes, "tls.hello.signature_schemes", KindCounter, Events, []*Dimension{OfferedScheme, ClientFamily}, "", global,
		"ClientHellos that accept a signature scheme; a hello counts for each."},
	{TLSHelloVersions, "tls.hello.versions", KindCounter, Events, []*Dimension{OfferedVersion, ClientFamily}, "", placed,
		"ClientHellos that support a protocol version by the supported_versions extension; a hello counts for each."},
	{TLSHelloLegacyVersions, "tls.hello.legacy_version", KindCounter, Events, []*Dimension{OfferedVersion, ClientFamily}, "", placed,
		"ClientHellos over TCP by the version in their fixed field, which TLS 1.3 keeps at 1.2."},
	{TLSHelloALPN, "tls.hello.alpn", KindCounter, Events, []*Dimension{OfferedALPN, ClientFamily}, "", placed,
		"ClientHellos that offer an application protocol; a hello counts for each."},
	{TLSHelloExtensions, "tls.hello.extensions", KindCounter, Events, []*Dimension{OfferedExtension, ClientFamily}, "", global,
		"ClientHellos that have an extension; a hello counts for each."},
	{TLSHelloCompressions, "tls.hello.compression", KindCounter, Events, []*Dimension{Compression, ClientFamily}, "", global,
		"ClientHellos over TCP that offer a method of record compression; a hello counts for each."},
	{TLSHelloCertCompressions, "tls.hello.certificate_compression", KindCounter, Events, []*Dimension{CertCompression, ClientFamily}, "", global,
		"ClientHellos over TCP that offer an algorithm for compressed certificates; a hello counts for each."},
	{TLSHelloFeatures, "tls.hello.features", KindCounter, Events, []*Dimension{HelloFeature, ClientFamily}, "", placed,
		"ClientHellos that have a feature; a hello counts for each. ech is the extension's presence, which many browsers fake as GREASE."},
	{TLSHelloSize, "tls.hello.size", KindHistogram, Bytes, []*Dimension{HelloState}, "", global,
		"Bytes of ClientHellos over TCP, as handshake messages with their header."},
	{TLSHelloJA4, "tls.hello.fingerprint", KindCounter, Events, []*Dimension{JA4, ClientFamily}, "", global,
		"ClientHellos by JA4 fingerprint, if it is in the list of known ones."},
	{TLSHelloJA4Unknown, "tls.hello.fingerprint.unknown", KindCounter, Events, []*Dimension{HelloTransport}, "", placed,
		"Different JA4 fingerprints that are not in the list and that an instance saw in a window, at most 4096 in each; the sum over instances counts a fingerprint once for each of them."},
	{TLSLibraries, "tls.libraries", KindCounter, Events, []*Dimension{TLSLibrary, ClientFamily}, "", placed,
		"ClientHellos over TCP by the TLS library that they look like."},

	{TLSFailures, "tls.failures", KindCounter, Events, []*Dimension{TLSFailure, TLSLibrary}, "", placed,
		"Connections to a TLS port that ended before the handshake was complete, by cause and by the library that the ClientHello looks like. A client without a request has no other family. Over QUIC, only those that got past their ClientHello."},
	{TLSAlerts, "tls.alerts", KindCounter, Events, []*Dimension{Alert, AlertSide, TLSLibrary}, "", placed,
		"Alerts raised in handshakes that were not completed: the first of each side, seen in the clear or told by Go's TLS."},
	{TLSRetries, "tls.retries", KindCounter, Events, []*Dimension{Presence, TLSVersion}, "", placed,
		"Completed handshakes over TCP with and without a HelloRetryRequest."},
	{TLSHandshakeTime, "tls.handshake.time", KindHistogram, Microseconds, []*Dimension{TLSVersion, Resumption}, "", placed,
		"Time from the first byte of a connection over TCP until the handshake's last message was received or, where the server speaks last, sent."},
	{TLSHandshakeBytes, "tls.handshake.size", KindHistogram, Bytes, []*Dimension{ByteDirection, Resumption}, "", global,
		"Bytes on a connection over TCP until its handshake was complete, with record headers."},
	{TLSCertificates, "tls.certificates.served", KindCounter, Events, []*Dimension{KeyType, Staple}, "", placed,
		"Certificates chosen for handshakes, by key, and whether an OCSP response went with them. A handshake that resumes a session counts only before TLS 1.3, where one is chosen though it isn't sent."},

	{ConnectionFeatures, "connections.features", KindCounter, Events, []*Dimension{ConnectionFeature, ClientFamily}, "", placed,
		"Connections that had a request, at the first one, by what they have; a connection counts for each, and once as all."},
	{RequestFeatures, "http.features", KindCounter, Events, []*Dimension{ConnectionFeature, ClientFamily}, "", placed,
		"Requests by what their connection has; a request counts for each, and once as all."},
	{TLSInterception, "tls.interception", KindCounter, Events, []*Dimension{InterceptionVerdict, ClientFamily}, "", placed,
		"Connections over TCP that had a request, by whether the ClientHello fits the client that the first User-Agent names."},
	{TLSInterceptionLibraries, "tls.interception.libraries", KindCounter, Events, []*Dimension{TLSLibrary, InterceptionVerdict}, "", placed,
		"Connections over TCP that had a request, by the library that the ClientHello looks like and by the verdict."},
}
