package wire

// A table finds the value of a code point in two steps, without a search.
type table [256]*[256]uint8

func newTable(d *Dimension, codes []codePoint) *table {
	t := new(table)
	for _, c := range codes {
		t.set(c.code, d.Value(c.name))
	}
	if grease := d.Value("GREASE"); grease != Other {
		for i := range uint16(16) {
			t.set(i<<12|0x0a00|i<<4|0x0a, grease) // RFC 8701
		}
	}
	return t
}

func (t *table) set(code uint16, v Value) {
	if v > 255 {
		panic("wire: a vocabulary of code points has more than 255 names")
	}
	row := &t[code>>8]
	if *row == nil {
		*row = new([256]uint8)
	}
	(*row)[code&0xff] = uint8(v)
}

func (t *table) value(code uint16) Value {
	if row := t[code>>8]; row != nil {
		return Value(row[code&0xff])
	}
	return Other
}

// What ClientHellos offer, which is more than Go's TLS can negotiate. Names are
// IANA's, but for what it never registered. All GREASE values (RFC 8701) are one.
var (
	OfferedSuite = dimension("offered_suite", "Cipher suite that a ClientHello offers, by its IANA name; all GREASE values are one.",
		append([]string{"GREASE"}, names(offeredSuites)...)...)
	OfferedGroup = dimension("offered_group", "Key exchange group that a ClientHello offers; all GREASE values are one.",
		append([]string{"GREASE"}, names(offeredGroups)...)...)
	OfferedScheme = dimension("signature_scheme", "Signature scheme that a ClientHello offers; all GREASE values are one.",
		append([]string{"GREASE"}, names(offeredSchemes)...)...)
	OfferedVersion = dimension("offered_version", "Protocol version that a ClientHello names; all GREASE values are one.",
		append([]string{"GREASE"}, names(offeredVersions)...)...)
	OfferedExtension = dimension("extension", "Extension of a ClientHello, by its IANA name; all GREASE values are one.",
		append([]string{"GREASE"}, names(offeredExtensions)...)...)
	CertCompression = dimension("certificate_compression", "Algorithm that a ClientHello offers for compressed certificates (RFC 8879); all GREASE values are one.",
		"GREASE", "zlib", "brotli", "zstd")
	Compression = dimension("compression", "Compression method that a ClientHello offers for records.",
		"null", "deflate", "lzs")
	OfferedALPN = dimension("offered_alpn", "Application protocol that a ClientHello offers; all GREASE values are one.",
		"GREASE", "http/0.9", "http/1.0", "http/1.1", "h2", "h2c", "h3", "h3-29", "spdy/1", "spdy/2", "spdy/3", "spdy/3.1",
		"acme-tls/1", "dot", "doq", "imap", "pop3", "smtp", "ftp", "mqtt", "grpc-exp", "postgresql", "webrtc", "xmpp-client", "irc", "nntp", "stun.turn", "ntske/1", "http/2")

	suiteTable           = newTable(OfferedSuite, offeredSuites)
	groupTable           = newTable(OfferedGroup, offeredGroups)
	schemeTable          = newTable(OfferedScheme, offeredSchemes)
	versionTable         = newTable(OfferedVersion, offeredVersions)
	extensionTable       = newTable(OfferedExtension, offeredExtensions)
	certCompressionTable = newTable(CertCompression, []codePoint{{1, "zlib"}, {2, "brotli"}, {3, "zstd"}})
)

// The value of a code point, or Other.

func OfferedSuiteValue(code uint16) Value     { return suiteTable.value(code) }
func OfferedGroupValue(code uint16) Value     { return groupTable.value(code) }
func OfferedSchemeValue(code uint16) Value    { return schemeTable.value(code) }
func OfferedVersionValue(code uint16) Value   { return versionTable.value(code) }
func OfferedExtensionValue(code uint16) Value { return extensionTable.value(code) }
func CertCompressionValue(code uint16) Value  { return certCompressionTable.value(code) }

// CompressionValue is the value of a record compression method.
func CompressionValue(method uint8) Value {
	switch method {
	case 0:
		return 1
	case 1:
		return 2
	case 64:
		return 3
	}
	return Other
}

// OfferedALPNValue is the value of a protocol's identifier in the extension.
func OfferedALPNValue(id string) Value {
	if len(id) == 2 && id[0] == id[1] && id[0]&0x0f == 0x0a {
		return 1
	}
	return OfferedALPN.Value(id)
}

var offeredVersions = []codePoint{
	{0x0304, "TLS 1.3"}, {0x0303, "TLS 1.2"}, {0x0302, "TLS 1.1"}, {0x0301, "TLS 1.0"}, {0x0300, "SSL 3.0"}, {0x0002, "SSL 2.0"},
	{0x7f17, "TLS 1.3 draft 23"}, {0x7f1a, "TLS 1.3 draft 26"}, {0x7f1c, "TLS 1.3 draft 28"}, {0xfb1a, "TLS 1.3 Facebook draft 26"},
	{0xfeff, "DTLS 1.0"}, {0xfefd, "DTLS 1.2"}, {0xfefc, "DTLS 1.3"},
}

var offeredGroups = []codePoint{
	{29, "x25519"}, {23, "secp256r1"}, {24, "secp384r1"}, {25, "secp521r1"}, {30, "x448"},
	{4588, "X25519MLKEM768"}, {4587, "SecP256r1MLKEM768"}, {4589, "SecP384r1MLKEM1024"},
	{512, "MLKEM512"}, {513, "MLKEM768"}, {514, "MLKEM1024"},
	{25497, "X25519Kyber768Draft00"}, {25498, "SecP256r1Kyber768Draft00"}, {16696, "CECPQ2"},
	{256, "ffdhe2048"}, {257, "ffdhe3072"}, {258, "ffdhe4096"}, {259, "ffdhe6144"}, {260, "ffdhe8192"},
	{26, "brainpoolP256r1"}, {27, "brainpoolP384r1"}, {28, "brainpoolP512r1"},
	{31, "brainpoolP256r1tls13"}, {32, "brainpoolP384r1tls13"}, {33, "brainpoolP512r1tls13"}, {41, "curveSM2"},
	{34, "GC256A"}, {35, "GC256B"}, {36, "GC256C"}, {37, "GC256D"}, {38, "GC512A"}, {39, "GC512B"}, {40, "GC512C"},
	{1, "sect163k1"}, {2, "sect163r1"}, {3, "sect163r2"}, {4, "sect193r1"}, {5, "sect193r2"}, {6, "sect233k1"}, {7, "sect233r1"},
	{8, "sect239k1"}, {9, "sect283k1"}, {10, "sect283r1"}, {11, "sect409k1"}, {12, "sect409r1"}, {13, "sect571k1"}, {14, "sect571r1"},
	{15, "secp160k1"}, {16, "secp160r1"}, {17, "secp160r2"}, {18, "secp192k1"}, {19, "secp192r1"}, {20, "secp224k1"}, {21, "secp224r1"}, {22, "secp256k1"},
}

var offeredSchemes = []codePoint{
	{0x0403, "ecdsa_secp256r1_sha256"}, {0x0503, "ecdsa_secp384r1_sha384"}, {0x0603, "ecdsa_secp521r1_sha512"}, {0x0203, "ecdsa_sha1"}, {0x0303, "ecdsa_sha224"},
	{0x0401, "rsa_pkcs1_sha256"}, {0x0501, "rsa_pkcs1_sha384"}, {0x0601, "rsa_pkcs1_sha512"}, {0x0201, "rsa_pkcs1_sha1"}, {0x0301, "rsa_pkcs1_sha224"}, {0x0101, "rsa_pkcs1_md5"},
	{0x0804, "rsa_pss_rsae_sha256"}, {0x0805, "rsa_pss_rsae_sha384"}, {0x0806, "rsa_pss_rsae_sha512"},
	{0x0809, "rsa_pss_pss_sha256"}, {0x080a, "rsa_pss_pss_sha384"}, {0x080b, "rsa_pss_pss_sha512"},
	{0x0807, "ed25519"}, {0x0808, "ed448"}, {0x0904, "mldsa44"}, {0x0905, "mldsa65"}, {0x0906, "mldsa87"},
	{0x0202, "dsa_sha1"}, {0x0302, "dsa_sha224"}, {0x0402, "dsa_sha256"}, {0x0502, "dsa_sha384"}, {0x0602, "dsa_sha512"},
	{0x081a, "ecdsa_brainpoolP256r1tls13_sha256"}, {0x081b, "ecdsa_brainpoolP384r1tls13_sha384"}, {0x081c, "ecdsa_brainpoolP512r1tls13_sha512"},
	{0x0708, "sm2sig_sm3"}, {0x0840, "gostr34102012_256"}, {0x0841, "gostr34102012_512"},
}

var offeredExtensions = []codePoint{
	{0, "server_name"}, {1, "max_fragment_length"}, {2, "client_certificate_url"}, {3, "trusted_ca_keys"}, {4, "truncated_hmac"},
	{5, "status_request"}, {6, "user_mapping"}, {9, "cert_type"}, {10, "supported_groups"}, {11, "ec_point_formats"}, {12, "srp"},
	{13, "signature_algorithms"}, {14, "use_srtp"}, {15, "heartbeat"}, {16, "application_layer_protocol_negotiation"},
	{17, "status_request_v2"}, {18, "signed_certificate_timestamp"}, {19, "client_certificate_type"}, {20, "server_certificate_type"},
	{21, "padding"}, {22, "encrypt_then_mac"}, {23, "extended_master_secret"}, {24, "token_binding"}, {25, "cached_info"},
	{27, "compress_certificate"}, {28, "record_size_limit"}, {34, "delegated_credential"}, {35, "session_ticket"},
	{41, "pre_shared_key"}, {42, "early_data"}, {43, "supported_versions"}, {44, "cookie"}, {45, "psk_key_exchange_modes"},
	{47, "certificate_authorities"}, {48, "oid_filters"}, {49, "post_handshake_auth"}, {50, "signature_algorithms_cert"}, {51, "key_share"},
	{57, "quic_transport_parameters"}, {58, "ticket_request"}, {13172, "next_protocol_negotiation"}, {17513, "application_settings (old)"},
	{17613, "application_settings"}, {30032, "channel_id"}, {51764, "trust_anchors"}, {64768, "encrypted_client_hello (outer extensions)"}, {65037, "encrypted_client_hello"},
	{65281, "renegotiation_info"}, {65445, "quic_transport_parameters (draft)"},
}

// offeredSuites are those of the libraries' defaults since 2010, and weak ones
// whose presence says something. The first are in the order of cipherSuites.
var offeredSuites = append(append([]codePoint(nil), cipherSuites...), []codePoint{
	{0x1304, "TLS_AES_128_CCM_SHA256"}, {0x1305, "TLS_AES_128_CCM_8_SHA256"},
	{0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"}, {0x5600, "TLS_FALLBACK_SCSV"},
	{0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"}, {0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"},
	{0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"}, {0xc006, "TLS_ECDHE_ECDSA_WITH_NULL_SHA"}, {0xc010, "TLS_ECDHE_RSA_WITH_NULL_SHA"},
	{0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"}, {0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"},
	{0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"}, {0xc0af, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"},
	{0xcc13, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256_DRAFT"}, {0xcc14, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256_DRAFT"}, {0xcc15, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256_DRAFT"},
	{0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"}, {0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"}, {0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"},
	{0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"}, {0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"}, {0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"}, {0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"},
	{0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"}, {0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA"}, {0x0014, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA"},
	{0xc09e, "TLS_DHE_RSA_WITH_AES_128_CCM"}, {0xc09f, "TLS_DHE_RSA_WITH_AES_256_CCM"}, {0xc0a2, "TLS_DHE_RSA_WITH_AES_128_CCM_8"}, {0xc0a3, "TLS_DHE_RSA_WITH_AES_256_CCM_8"},
	{0x00a2, "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256"}, {0x00a3, "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384"}, {0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA"}, {0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA"},
	{0x0040, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256"}, {0x006a, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256"}, {0x0013, "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA"}, {0x0012, "TLS_DHE_DSS_WITH_DES_CBC_SHA"}, {0x0066, "TLS_DHE_DSS_WITH_RC4_128_SHA"},
	{0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"}, {0xc09c, "TLS_RSA_WITH_AES_128_CCM"}, {0xc09d, "TLS_RSA_WITH_AES_256_CCM"}, {0xc0a0, "TLS_RSA_WITH_AES_128_CCM_8"}, {0xc0a1, "TLS_RSA_WITH_AES_256_CCM_8"},
	{0x0004, "TLS_RSA_WITH_RC4_128_MD5"}, {0x0009, "TLS_RSA_WITH_DES_CBC_SHA"}, {0x0007, "TLS_RSA_WITH_IDEA_CBC_SHA"}, {0x0096, "TLS_RSA_WITH_SEED_CBC_SHA"}, {0x009a, "TLS_DHE_RSA_WITH_SEED_CBC_SHA"},
	{0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA"}, {0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA"}, {0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA"}, {0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA"},
	{0x00ba, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256"}, {0x00c0, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA256"}, {0x00be, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"}, {0x00c4, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256"},
	{0xc072, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256"}, {0xc073, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384"}, {0xc076, "TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"}, {0xc077, "TLS_ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384"},
	{0xc050, "TLS_RSA_WITH_ARIA_128_GCM_SHA256"}, {0xc051, "TLS_RSA_WITH_ARIA_256_GCM_SHA384"}, {0xc052, "TLS_DHE_RSA_WITH_ARIA_128_GCM_SHA256"}, {0xc053, "TLS_DHE_RSA_WITH_ARIA_256_GCM_SHA384"},
	{0xc05c, "TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256"}, {0xc05d, "TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384"}, {0xc060, "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256"}, {0xc061, "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384"},
	{0xc004, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA"}, {0xc005, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA"}, {0xc00e, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA"}, {0xc00f, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA"},
	{0xc02d, "TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256"}, {0xc02e, "TLS_ECDH_ECDSA_WITH_AES_256_GCM_SHA384"}, {0xc031, "TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256"}, {0xc032, "TLS_ECDH_RSA_WITH_AES_256_GCM_SHA384"},
	{0xc002, "TLS_ECDH_ECDSA_WITH_RC4_128_SHA"}, {0xc00c, "TLS_ECDH_RSA_WITH_RC4_128_SHA"}, {0xc003, "TLS_ECDH_ECDSA_WITH_3DES_EDE_CBC_SHA"}, {0xc00d, "TLS_ECDH_RSA_WITH_3DES_EDE_CBC_SHA"},
	{0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA"}, {0x003a, "TLS_DH_anon_WITH_AES_256_CBC_SHA"}, {0x0018, "TLS_DH_anon_WITH_RC4_128_MD5"}, {0x001b, "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA"}, {0xc018, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA"}, {0xc019, "TLS_ECDH_anon_WITH_AES_256_CBC_SHA"},
	{0x0001, "TLS_RSA_WITH_NULL_MD5"}, {0x0002, "TLS_RSA_WITH_NULL_SHA"}, {0x003b, "TLS_RSA_WITH_NULL_SHA256"}, {0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5"}, {0x0006, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5"}, {0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA"},
	{0x00a8, "TLS_PSK_WITH_AES_128_GCM_SHA256"}, {0x00a9, "TLS_PSK_WITH_AES_256_GCM_SHA384"}, {0x008c, "TLS_PSK_WITH_AES_128_CBC_SHA"}, {0x008d, "TLS_PSK_WITH_AES_256_CBC_SHA"},
	{0xc101, "TLS_GOSTR341112_256_WITH_MAGMA_CTR_OMAC"}, {0xc102, "TLS_GOSTR341112_256_WITH_28147_CNT_IMIT"}, {0x0081, "TLS_GOSTR341001_WITH_28147_CNT_IMIT"}, {0x00c6, "TLS_SM4_GCM_SM3"}, {0x00c7, "TLS_SM4_CCM_SM3"},
}...)
