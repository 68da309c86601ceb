package inventory

import (
	"net/netip"
	"net/url"
	"strings"
)

// A kind is where a host name or an address can be reached from.
type kind uint8

const (
	nowhere  kind = iota // no name: empty, a wildcard for everything, a placeholder
	local                // this machine
	internal             // a network of one's own
	public
)

// localNames and internalNames are the suffixes that no public authority signs
// for: reserved by RFC 2606, 6761, 6762, 7686 and 8375 and by ICANN, and those
// in wide use without being reserved.
var (
	localNames    = []string{"localhost", "test", "example", "invalid", "localdomain", "localtest.me", "lvh.me"}
	internalNames = []string{
		"local", "internal", "lan", "home", "home.arpa", "intranet", "corp", "private", "localnet", "intern", "in-addr.arpa", "ip6.arpa",
		"ts.net", "svc", "cluster.local", "docker",
	}
	exampleNames = []string{"example.com", "example.net", "example.org"}
)

// kindOf judges a host name, address or pattern in lower case.
func kindOf(host string) kind {
	host = strings.TrimPrefix(host, "*.")
	if host == "" || host == "*" || strings.ContainsAny(host, "{}*") {
		return nowhere
	}
	if ip, ok := parseIP(host); ok {
		return kindOfIP(ip)
	}
	host = hostOf(host)
	switch {
	case under(host, localNames), under(host, exampleNames):
		return local
	case under(host, internalNames), !strings.Contains(host, "."):
		return internal
	}
	if tld := host[strings.LastIndexByte(host, '.')+1:]; len(tld) < 2 || isNumber(tld) {
		return nowhere
	}
	return public
}

var carrierGrade = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598; also overlay networks

func kindOfIP(ip netip.Addr) kind {
	switch {
	case ip.IsUnspecified():
		return nowhere
	case ip.IsLoopback():
		return local
	case ip.IsPrivate(), ip.IsLinkLocalUnicast(), carrierGrade.Contains(ip):
		return internal
	case ip.IsGlobalUnicast():
		return public
	}
	return nowhere
}

func under(host string, suffixes []string) bool {
	for _, s := range suffixes {
		if host == s || strings.HasSuffix(host, "."+s) {
			return true
		}
	}
	return false
}

// deployment guesses what an instance serves. The strongest sign decides:
//
//  1. Listeners on this machine's own addresses alone serve this machine.
//     (A unix socket says nothing: another server is before it.)
//  2. A public name whose certificate comes from a public authority, or that
//     is served without one, is production.
//  3. Public names of which every certificate is of an authority of one's own,
//     and internal names, are internal; names of this machine alone, local.
//  4. Without names: certificates that were loaded or are got on demand, or a
//     listener on a public address, are production; a listener on a private
//     address is internal.
func deployment(servers []*server, tlsApp any) string {
	loopback, others := 0, 0
	listens := map[kind]bool{}
	names := map[kind]bool{}
	for _, s := range servers {
		for _, a := range s.listen {
			if !a.ok || a.net.IsUnixNetwork() {
				others++
				continue
			}
			k := nowhere
			if a.net.Host != "" {
				k = kindOf(strings.ToLower(a.net.Host))
			}
			listens[k] = true
			if k == local {
				loopback++
			} else {
				others++
			}
		}
		for h := range s.hosts {
			k := kindOf(h)
			if k == public && s.tls() && ownAuthority(tlsApp, h) {
				k = internal
			}
			names[k] = true
		}
	}
	switch {
	case len(servers) == 0:
		return "unknown"
	case loopback > 0 && others == 0:
		return "local"
	case names[public]:
		return "production"
	case names[internal]:
		return "internal"
	case names[local]:
		return "local"
	case loadsCertificates(tlsApp) || onDemand(tlsApp), listens[public]:
		return "production"
	case listens[internal]:
		return "internal"
	}
	return "unknown"
}

// policyFor is the automation policy that certificates for host come from: the
// first that names it, or else the first that names nothing.
func policyFor(tlsApp any, host string) any {
	var catchAll any
	for _, p := range list(field(tlsApp, "automation", "policies")) {
		subjects := list(field(p, "subjects"))
		if len(subjects) == 0 && catchAll == nil {
			catchAll = p
		}
		for _, s := range subjects {
			if name, ok := s.(string); ok && covers(strings.ToLower(name), host) {
				return p
			}
		}
	}
	return catchAll
}

func hasPolicy(tlsApp any, host string) bool {
	return len(list(field(policyFor(tlsApp, host), "issuers"))) > 0
}

// covers reports whether a certificate for subject is good for host.
func covers(subject, host string) bool {
	if subject == host {
		return true
	}
	suffix, ok := strings.CutPrefix(subject, "*")
	if !ok {
		return false
	}
	_, rest, _ := strings.Cut(host, ".")
	return suffix == "" || suffix == "."+rest
}

// ownAuthority reports whether every certificate for host is of an authority
// that the public doesn't know.
func ownAuthority(tlsApp any, host string) bool {
	issuers := list(field(policyFor(tlsApp, host), "issuers"))
	for _, i := range issuers {
		switch field(i, "module") {
		case "internal":
		case "acme":
			ca, _ := field(i, "ca").(string)
			if ca == "" {
				return false
			}
			u, err := url.Parse(ca)
			if err != nil || kindOf(strings.ToLower(u.Hostname())) == public {
				return false
			}
		default:
			return false
		}
	}
	return len(issuers) > 0
}

func loadsCertificates(tlsApp any) bool {
	for name, v := range object(field(tlsApp, "certificates")) {
		if name != "automate" && v != nil {
			return true
		}
	}
	return false
}

func onDemand(tlsApp any) bool {
	for _, p := range list(field(tlsApp, "automation", "policies")) {
		if truth(field(p, "on_demand")) && !allInternal(list(field(p, "issuers"))) {
			return true
		}
	}
	return false
}

func allInternal(issuers []any) bool {
	for _, i := range issuers {
		if field(i, "module") != "internal" {
			return false
		}
	}
	return len(issuers) > 0
}
