package wire

// CipherSuite and Group name the registered code points that Go's TLS can
// negotiate; their codes are in the same order.
var (
	CipherSuite = dimension("cipher_suite", "Negotiated cipher suite, by its IANA name.", names(cipherSuites)...)
	Group       = dimension("group", "Key exchange group; none if there was no key exchange or it used none.", append([]string{"none"}, names(groups)...)...)
)

type codePoint struct {
	code uint16
	name string
}

var cipherSuites = []codePoint{
	{0x1301, "TLS_AES_128_GCM_SHA256"},
	{0x1302, "TLS_AES_256_GCM_SHA384"},
	{0x1303, "TLS_CHACHA20_POLY1305_SHA256"},
	{0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
	{0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
	{0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
	{0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
	{0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
	{0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
	{0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"},
	{0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"},
	{0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"},
	{0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"},
	{0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"},
	{0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"},
	{0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"},
	{0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"},
	{0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"},
	{0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"},
	{0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"},
	{0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"},
	{0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"},
	{0x0005, "TLS_RSA_WITH_RC4_128_SHA"},
	{0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"},
	{0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"},
}

var groups = []codePoint{
	{29, "X25519"},
	{23, "secp256r1"},
	{24, "secp384r1"},
	{25, "secp521r1"},
	{4588, "X25519MLKEM768"},
	{4587, "SecP256r1MLKEM768"},
	{4589, "SecP384r1MLKEM1024"},
}

func names(cs []codePoint) []string {
	s := make([]string, len(cs))
	for i, c := range cs {
		s[i] = c.name
	}
	return s
}

// CipherSuiteValue is the value of a cipher suite's code point.
func CipherSuiteValue(code uint16) Value {
	for i, c := range cipherSuites {
		if c.code == code {
			return Value(i + 1)
		}
	}
	return Other
}

// GroupValue is the value of a group's code point; 0 is none.
func GroupValue(code uint16) Value {
	if code == 0 {
		return 1
	}
	for i, g := range groups {
		if g.code == code {
			return Value(i + 2)
		}
	}
	return Other
}

// Who is at the other end, more coarsely than User-Agents tell.
var (
	ClientFamily = dimension("client_family", "Client's family, from its User-Agent; unknown if there was no request.",
		"unknown", "none", "chromium", "firefox", "safari", "internet-explorer", "browser", "search-bot", "bot",
		"curl", "wget", "go", "python", "java", "node", "php", "ruby", "dotnet", "tool", "app")
	TLSLibrary = dimension("tls_library", "TLS library that a ClientHello looks like.",
		"unknown", "boringssl", "nss", "apple", "openssl", "gnutls", "go", "java", "schannel", "rustls", "mbedtls", "wolfssl")
	InterceptionVerdict = dimension("verdict", "Whether a ClientHello fits the client that the User-Agent names.",
		"consistent", "inconsistent", "unknown")
)
