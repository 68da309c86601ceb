package dashboard

import (
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// display is how a value is shown to people. The API has the values as they are.
func display(word, value string, facet wire.Facet) string {
	switch word {
	case "protocol":
		return strings.ToUpper(value[:min(4, len(value))]) + value[min(4, len(value)):]
	case "family":
		return map[string]string{"ipv4": "IPv4", "ipv6": "IPv6", "unix": "Unix socket", "other": "Other"}[value]
	case "transport":
		return map[string]string{"tls": "TLS", "plain": "Plain HTTP", "other": "Other"}[value]
	case "client_os", "browser":
		if s, ok := map[string]string{"macos": "macOS", "ios": "iOS", "ipados": "iPadOS", "chromeos": "ChromeOS", "freebsd": "FreeBSD"}[value]; ok {
			return s
		}
		return capital(value)
	case "kind":
		if value == "none" {
			return "No User-Agent"
		}
		return map[string]string{"browser": "Browsers", "bot": "Bots", "tool": "Tools", "app": "Apps", "other": "Other"}[value]
	case "client_family":
		if s, ok := clientFamilies[value]; ok {
			return s
		}
	case "client":
		if lib, ok := strings.CutPrefix(value, "library:"); ok {
			if lib == "unknown" || lib == "other" {
				return capital(lib) + " library"
			}
			return tlsLibraries[lib] + " library"
		}
		if s, ok := clientFamilies[value]; ok {
			return s
		}
	case "handshake":
		return map[string]string{"TLS 1.3": "TLS 1.3", "older": "TLS 1.2 and older", "failed": "Not completed"}[value]
	case "outcome":
		return map[string]string{"post_quantum": "Post-quantum", "classical": "Classical"}[value] + failureName(value)
	case "release":
		if value != "all" {
			return value + " or newer"
		}
		return "All"
	case "change":
		return capital(value)
	case "tls_library":
		if s, ok := tlsLibraries[value]; ok {
			return s
		}
	case "connection_feature":
		if s, ok := connectionFeatures[value]; ok {
			return s
		}
	case "hello_transport":
		if value != "other" {
			return strings.ToUpper(value)
		}
	case "hello_feature", "failure", "alert", "staple", "side", "direction", "hello_state", "occasion", "certificate_occasion", "management", "ocsp_status", "subdomains", "load", "level", "error", "reason", "update_result", "update_step", "update_cause", "upstream_failure", "handler", "use":
		return sentence(value)
	case "phase", "resumption", "role", "deployment", "container", "presence", "verdict", "upgrade",
		"incident_kind", "behaviour", "scan_class":
		return sentence(value)
	case "status":
		if s, ok := statusTexts[value]; ok {
			return value + " " + s
		}
	case "value":
		switch {
		case facet == wire.Country:
			return countryName(value)
		case value == "":
			return "Unknown"
		case facet == wire.Deployment:
			return capital(value)
		}
	}
	if value == "other" {
		return "Other"
	}
	return value
}

// failureName is a cause of failure as a sankey's outcome, "" if value is none.
func failureName(value string) string {
	switch value {
	case "post_quantum", "classical":
		return ""
	case "other_failure":
		return "Other failures"
	}
	return sentence(value)
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// title is a group's name for people.
func title(words []string, r Row, facet wire.Facet) string {
	switch {
	case r.Rest:
		return "Everything else"
	case r.Suppressed:
		return "Too few to show"
	}
	var parts []string
	for _, w := range words {
		v := r.Group[w]
		if w == "browser_version" && v == "other" && len(words) > 1 {
			continue
		}
		parts = append(parts, display(w, v, facet))
	}
	if slices.Contains(words, "bot") && slices.Contains(words, "bot_class") {
		return strings.Join([]string{display("bot", r.Group["bot"], facet), r.Group["bot_class"]}, " · ")
	}
	if len(words) > 1 && words[0] == "browser" {
		return strings.Join(parts, " ")
	}
	return strings.Join(parts, " · ")
}

var clientFamilies = map[string]string{
	"unknown": "No request", "none": "No User-Agent", "chromium": "Chromium browsers", "firefox": "Firefox",
	"safari": "Safari", "internet-explorer": "Internet Explorer", "browser": "Other browsers", "search-bot": "Search bots",
	"bot": "Other bots", "go": "Go", "python": "Python", "java": "Java", "node": "Node.js", "php": "PHP", "ruby": "Ruby",
	"dotnet": ".NET", "tool": "Other tools", "app": "Apps", "other": "Other",
}

var tlsLibraries = map[string]string{
	"unknown": "Unknown", "boringssl": "BoringSSL", "nss": "NSS", "apple": "Apple", "openssl": "OpenSSL", "gnutls": "GnuTLS",
	"go": "Go", "java": "Java", "schannel": "SChannel", "rustls": "rustls", "mbedtls": "Mbed TLS", "wolfssl": "wolfSSL", "other": "Other",
}

var connectionFeatures = map[string]string{
	"all": "All", "tls": "TLS", "sni": "SNI", "ech_offered": "ECH offered", "ech_accepted": "ECH accepted", "ipv6": "IPv6",
	"http3": "HTTP/3", "pq_offered": "Post-quantum offered", "pq_negotiated": "Post-quantum", "tls13": "TLS 1.3",
	"resumed": "Resumed", "early_data": "0-RTT", "other": "Other",
}

// acronyms are written so in names that are otherwise words.
var acronyms = map[string]string{
	"grease": "GREASE", "ech": "ECH", "psk": "PSK", "sct": "SCT", "http": "HTTP", "http2": "HTTP/2", "tls": "TLS", "ca": "CA",
	"alpn": "ALPN", "sslv2": "SSLv2", "mac": "MAC", "ocsp": "OCSP", "id": "ID", "scsv": "SCSV", "php": "PHP", "ssh": "SSH", "vpn": "VPN",
	"cgi": "CGI", "phpmyadmin": "phpMyAdmin", "wordpress": "WordPress", "acme": "ACME", "dns": "DNS", "hsts": "HSTS", "gc": "GC", "san": "SAN",
}

// sentence writes a name of a vocabulary as words.
func sentence(value string) string {
	words := strings.Split(value, "_")
	for i, w := range words {
		if a, ok := acronyms[w]; ok {
			words[i] = a
		}
	}
	s := strings.Join(words, " ")
	if acronyms[strings.Split(value, "_")[0]] != "" {
		return s
	}
	return capital(s)
}
