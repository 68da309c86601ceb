package evergreen

import (
	"errors"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/mholt/acmez/v3/acme"

	"github.com/caddy-evergreen/evergreen/wire"
)

// causeOf is the value of wire.CertificateCause for an issuer's error.
//
// What the ACME server says of itself comes first. Then the texts: an error of
// a DNS provider's API, met while a challenge is prepared, is one of the network
// too, and says nothing of the way to the CA.
func causeOf(err error) wire.Value {
	if err == nil {
		return wire.Other
	}
	var problem acme.Problem
	if errors.As(err, &problem) {
		return causeOfProblem(problem)
	}
	var ofOrder *acme.Problem // an order that came to nothing has its problem by reference
	if errors.As(err, &ofOrder) && ofOrder != nil {
		return causeOfProblem(*ofOrder)
	}
	name := causeOfText(err.Error())
	if name == "" {
		name = causeOfKind(err)
	}
	return wire.CertificateCause.Value(name)
}

// causeOfProblem takes the type of a problem document (RFC 7807), which need not
// be one of ACME's: a gateway before the CA may have made it.
func causeOfProblem(p acme.Problem) wire.Value {
	kind, ok := strings.CutPrefix(p.Type, acme.ProblemTypeNamespace)
	switch name := "acme:" + kind; {
	case ok && wire.CertificateCause.Has(name):
		return wire.CertificateCause.Value(name)
	case !ok && p.Status == http.StatusTooManyRequests:
		return wire.CertificateCause.Value("acme:rateLimited")
	case !ok && p.Status >= http.StatusInternalServerError:
		return wire.CertificateCause.Value("ca:http")
	}
	return wire.CertificateCause.Value("acme:other")
}

// causeTexts are what CertMagic and acmez say where their errors have no type.
// The first that is found counts.
var causeTexts = []struct{ text, cause string }{
	// How Caddy proves that a name is its own.
	{"no solvers available for remaining challenges", "challenge:none"},
	{"presenting for challenge: ", "challenge:setup"},
	{"presenting validation file for verification: ", "challenge:setup"},
	{"creating CNAME record: ", "challenge:setup"},
	{"waiting for solver ", "challenge:propagation"},
	{"authorization took too long", "timeout"},
	{"order took too long", "timeout"},

	// What the operator can mend.
	{"does not qualify for a public certificate", "name"},
	{"cannot have public IP certificate", "name"},
	{"insecure CA URL", "config"},
	{"ACME server does not advertise support for profiles", "config"},
	{"unknown profile name", "config"},
	{"account status is not valid", "account"},
	{"account pre-registration callback: ", "account"},
	{"user must agree to CA terms", "account"},
	{"base64-decoding MAC key: ", "account"},
	{"signing EAB content: ", "account"},
	{"could not decode account's private key", "account"},
	{"no certificate chains", "acme:accountDoesNotExist"}, // not even the one that CertMagic made when it was told so before

	{"looking up account with server: ", "account"},
	{"getting ACME account: ", "storage"},
	{"locking account registration: ", "storage"},
	{"could not save account", "storage"},
	{"resetting our local copy of the account info failed", "storage"},

	// ZeroSSL's own API, which is not ACME.
	{"creating certificate: ", "ca:api"},
	{"verifying identifiers: ", "ca:api"},
	{"waiting for certificate to be issued: ", "ca:api"},
	{"unexpected certificate status: ", "ca:api"},
	{"downloading certificate: ", "ca:api"},

	// Answers that are not what RFC 8555 says.
	{"JSON-decoding ", "ca:malformed"},
	{"required directory fields are missing", "ca:malformed"},
	{"directory missing newNonce endpoint", "ca:malformed"},
	{"response Content-Type is ", "ca:malformed"},
	{"unrecognized Content-Type from server", "ca:malformed"},
	{"invalid first PEM block of chain", "ca:malformed"},
	{"final order is invalid", "ca:malformed"}, // and nobody says why
	{"empty authz url", "ca:malformed"},
	{"has unexpected status; order will fail", "ca:malformed"},
	{"server set unrecognized authorization status", "ca:malformed"},
	{"unrecognized order status", "ca:malformed"},
	{"order already finalized", "ca:malformed"},
	{"order pending, authorizations remaining", "ca:malformed"},
	{"authorization deactivated", "ca:malformed"},
	{"authorization expired", "ca:malformed"},
	{"authorization revoked", "ca:malformed"},
	{"status unknown", "ca:malformed"},
	{"unexpected status code: HTTP ", "ca:http"},
}

// maxCauseText bounds what is looked at: a CA's answer can be of any size.
const maxCauseText = 64 << 10

// problemText is how acmez writes a problem document, which CertMagic keeps as
// text only where it looks for a configured account.
var problemText = regexp.MustCompile(`HTTP [0-9]{3} (urn:ietf:params:acme:error:[A-Za-z]+) - `)

// httpStatus is how acmez begins an HTTP error without a problem document. What
// follows is the body, in which anything may stand.
var httpStatus = regexp.MustCompile(`(?:^| )HTTP ([45][0-9]{2}): `)

func causeOfText(text string) string {
	text = text[:min(len(text), maxCauseText)]
	if m := problemText.FindStringSubmatch(text); m != nil {
		return wire.CertificateCause.ValueName(causeOfProblem(acme.Problem{Type: m[1]}))
	}
	if at := httpStatus.FindStringSubmatchIndex(text); at != nil {
		if !strings.HasPrefix(text[at[1]:], "JSON-decoding problem details: ") {
			if text[at[2]:at[3]] == "429" {
				return "acme:rateLimited"
			}
			return "ca:http"
		}
		return "ca:malformed"
	}
	for _, t := range causeTexts {
		if strings.Contains(text, t.text) {
			return t.cause
		}
	}
	return ""
}

// causeOfKind takes what errors' types and the system's numbers tell.
func causeOfKind(err error) string {
	var op *net.OpError
	kind, network := kindOf(err), errors.As(err, &op)
	switch kind {
	case kindDNS:
		return "ca:dns"
	case kindTimeout:
		return "timeout"
	case kindCanceled:
		return "canceled"
	case kindRefused:
		return "ca:refused"
	case kindReset, kindClosed:
		return "ca:reset"
	case kindTLS, kindCertificate:
		return "ca:tls"
	case kindJSON:
		return "ca:malformed"
	case kindPermission, kindNotFound, kindExists, kindNoSpace, kindReadOnly, kindIO:
		if !network {
			return "storage"
		}
	}
	switch {
	case errors.Is(err, http.ErrSchemeMismatch): // plain HTTP where TLS was to be
		return "ca:tls"
	case network:
		return "ca:unreachable"
	}
	return ""
}
