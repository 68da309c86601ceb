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
	case "tls_library":
		if s, ok := tlsLibraries[value]; ok {
			return s
		}
	case "phase", "resumption", "role", "deployment", "container", "presence", "verdict", "upgrade",
		"incident_kind", "behaviour", "scan_class":
		return capital(strings.ReplaceAll(value, "_", " "))
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
	if slices.Equal(words, []string{"bot", "bot_class"}) || slices.Equal(words, []string{"bot_class", "bot"}) {
		return r.Group["bot"] + " · " + r.Group["bot_class"]
	}
	return strings.Join(parts, " ")
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
