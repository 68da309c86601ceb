package evergreen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/wire"
)

// failed is the error of CertMagic's event when it asks an issuer in vain for
// a certificate of a name; prepare changes the issuer and the storage's folder.
func failed(t *testing.T, ctx context.Context, ca, name string, prepare func(*certmagic.ACMEIssuer, string)) error {
	t.Helper()
	dir := t.TempDir()
	template := certmagic.ACMEIssuer{
		CA: ca, Email: "nobody@example.test", Agreed: true, Logger: zap.NewNop(), CertObtainTimeout: 500 * time.Millisecond,
		DisableTLSALPNChallenge: true, ListenHost: "127.0.0.1", AltHTTPPort: mustPort(t),
	}
	if prepare != nil {
		prepare(&template, dir)
	}
	var cause error
	cache, magic := newMagic(t, dir, func(data map[string]any) { cause, _ = data["error"].(error) })
	defer cache.Stop()
	magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(magic, template)}
	if err := magic.ObtainCertSync(ctx, name); err == nil {
		t.Fatal("there is a certificate")
	} else if cause == nil {
		t.Fatalf("no event: %v", err)
	}
	return cause
}

func newMagic(t *testing.T, dir string, onFailed func(map[string]any)) (*certmagic.Cache, *certmagic.Config) {
	t.Helper()
	var magic *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return magic, nil }, Logger: zap.NewNop(),
	})
	magic = certmagic.New(cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: dir}, Logger: zap.NewNop(),
		OnEvent: func(_ context.Context, event string, data map[string]any) error {
			if event == "cert_failed" {
				onFailed(data)
			}
			return nil
		},
	})
	return cache, magic
}

func mustPort(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// An acmeAnswer is what an endpoint of an ACME server says.
type acmeAnswer struct {
	status      int
	contentType string
	body        string
}

func problemOf(status int, kind string) acmeAnswer {
	return acmeAnswer{status, "application/problem+json", fmt.Sprintf(`{"type":%q,"status":%d,"detail":"HTTP 404: presenting for challenge: "}`, kind, status)}
}

// faulty is an ACME server (RFC 8555) that behaves until the endpoints of which
// it is told otherwise. No CA can be had that fails in all the ways that CAs do.
func faulty(t *testing.T, answers map[string]acmeAnswer) (directory string) {
	t.Helper()
	var srv *httptest.Server
	behaves := func(path string) acmeAnswer {
		created, ok, j := http.StatusCreated, http.StatusOK, "application/json"
		switch path {
		case "/directory":
			return acmeAnswer{ok, j, fmt.Sprintf(`{"newNonce":"%[1]s/nonce","newAccount":"%[1]s/account","newOrder":"%[1]s/order","revokeCert":"%[1]s/revoke","keyChange":"%[1]s/key"}`, srv.URL)}
		case "/account":
			return acmeAnswer{created, j, `{"status":"valid"}`}
		case "/order":
			return acmeAnswer{created, j, fmt.Sprintf(`{"status":"pending","identifiers":[{"type":"dns","value":"site.test"}],"authorizations":["%[1]s/authz"],"finalize":"%[1]s/finalize"}`, srv.URL)}
		case "/authz":
			return acmeAnswer{ok, j, fmt.Sprintf(`{"status":"pending","identifier":{"type":"dns","value":"site.test"},"challenges":[{"type":"http-01","url":"%s/challenge","status":"pending","token":"t"}]}`, srv.URL)}
		case "/challenge":
			return acmeAnswer{ok, j, fmt.Sprintf(`{"type":"http-01","url":"%s/challenge","status":"processing","token":"t"}`, srv.URL)}
		case "/finalize":
			return acmeAnswer{ok, j, fmt.Sprintf(`{"status":"valid","identifiers":[{"type":"dns","value":"site.test"}],"certificate":"%s/certificate"}`, srv.URL)}
		}
		return acmeAnswer{status: http.StatusNoContent}
	}
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		a, ok := answers[r.URL.Path]
		if !ok {
			a = behaves(r.URL.Path)
		}
		w.Header().Set("Replay-Nonce", "once")
		w.Header().Set("Location", srv.URL+strings.Replace(r.URL.Path, "/order", "/placed", 1))
		if a.contentType != "" {
			w.Header().Set("Content-Type", a.contentType)
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, strings.ReplaceAll(a.body, "$URL", srv.URL))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/directory"
}

// validated has the authorization be valid at once.
var validated = acmeAnswer{http.StatusOK, "application/json", `{"status":"valid","identifier":{"type":"dns","value":"site.test"},"challenges":[]}`}

// Each cause, from what CertMagic and acmez really say when an ACME server, the
// way to it, or the configuration has that fault.
func TestCausesOfACME(t *testing.T) {
	ok, j := http.StatusOK, "application/json"
	plain := func(status int, body string) acmeAnswer { return acmeAnswer{status, "text/plain", body} }
	type answers = map[string]acmeAnswer
	type test struct {
		name, want string
		answers    answers
		prepare    func(*certmagic.ACMEIssuer, string)
	}
	tests := []test{
		{"a problem of nobody's", "acme:other", answers{"/order": problemOf(400, acme.ProblemTypeNamespace+"new")}, nil},
		{"a problem of a gateway", "ca:http", answers{"/order": problemOf(503, "about:blank")}, nil},
		{"a gateway's limit", "acme:rateLimited", answers{"/order": problemOf(429, "about:blank")}, nil},
		{"a limit in plain text", "acme:rateLimited", answers{"/account": plain(429, "slow down")}, nil},
		{"out of order", "ca:http", answers{"/directory": plain(503, "authorization took too long")}, nil},
		{"not there", "ca:http", answers{"/directory": plain(404, "")}, nil},
		{"a redirect to nowhere", "ca:http", answers{"/account": plain(304, "")}, nil},
		{"a page", "ca:malformed", answers{"/directory": plain(ok, "<html>")}, nil},
		{"no directory", "ca:malformed", answers{"/directory": {ok, j, "{}"}}, nil},
		{"no JSON", "ca:malformed", answers{"/directory": {ok, j, "<html>"}}, nil},
		{"a broken problem", "ca:malformed", answers{"/order": {400, "application/problem+json", "<html>"}}, nil},
		{"an order that is none", "ca:malformed", answers{"/order": plain(ok, "thanks")}, nil},
		{"a closed account", "account", answers{"/account": {http.StatusCreated, j, `{"status":"deactivated"}`}}, nil},

		{"a failed challenge", "acme:unauthorized", answers{"/authz": {ok, j, `{"status":"pending","identifier":{"type":"dns","value":"site.test"},"challenges":[{"type":"http-01","url":"$URL/failing","status":"pending","token":"t"}]}`},
			"/failing": problemOf(403, acme.ProblemTypeUnauthorized)}, nil},
		{"a failed order", "acme:caa", answers{"/authz": validated, "/finalize": {ok, j, `{"status":"invalid","error":{"type":"` + acme.ProblemTypeCAA + `","status":403}}`}}, nil},
		{"an order that failed in silence", "ca:malformed", answers{"/authz": validated, "/finalize": {ok, j, `{"status":"invalid"}`}}, nil},
		{"an order in no state", "ca:malformed", answers{"/authz": validated, "/finalize": {ok, j, `{"status":"lost"}`}}, nil},
		{"an order that goes back", "ca:malformed", answers{"/authz": validated, "/finalize": {ok, j, `{"status":"pending"}`}}, nil},
		{"a page for a certificate", "ca:malformed", answers{"/authz": validated, "/certificate": {ok, "text/html", "<html>"}}, nil},
		{"an authorization that ended", "ca:malformed", answers{"/authz": {ok, j, `{"status":"expired","identifier":{"type":"dns","value":"site.test"},"challenges":[]}`}}, nil},
		{"nobody comes to look", "timeout", nil, nil},
		{"no way to prove it", "challenge:none", answers{"/authz": {ok, j, `{"status":"pending","identifier":{"type":"dns","value":"site.test"},"challenges":[{"type":"dns-01","url":"$URL/challenge","status":"pending","token":"t"}]}`}}, nil},
		{"an address that is not here", "challenge:setup", nil, func(i *certmagic.ACMEIssuer, _ string) { i.ListenHost = "192.0.2.1" }},
		{"a DNS zone that can't be found", "challenge:setup", dnsOnly, func(i *certmagic.ACMEIssuer, _ string) {
			i.DNS01Solver = &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{Resolvers: []string{"127.0.0.1:" + strconv.Itoa(i.AltHTTPPort)}}}
		}},
		{"a record that does not appear", "challenge:propagation", dnsOnly, func(i *certmagic.ACMEIssuer, _ string) { i.DNS01Solver = late{} }},

		{"a profile without profiles", "config", nil, func(i *certmagic.ACMEIssuer, _ string) { i.Profile = "short" }},
		{"a profile that isn't there", "config", answers{"/directory": {ok, j, `{"newNonce":"$URL/nonce","newAccount":"$URL/account","newOrder":"$URL/order","meta":{"profiles":{"long":""}}}`}},
			func(i *certmagic.ACMEIssuer, _ string) { i.Profile = "short" }},
		{"plain HTTP", "config", nil, func(i *certmagic.ACMEIssuer, _ string) { i.CA = "http://ca.example.com/directory" }},
		{"a key that is none", "account", nil, func(i *certmagic.ACMEIssuer, _ string) {
			i.ExternalAccount = &acme.EAB{KeyID: "k", MACKey: "no base64!"}
		}},
		{"a key that nobody knows", "acme:accountDoesNotExist", answers{"/account": problemOf(400, acme.ProblemTypeAccountDoesNotExist)},
			func(i *certmagic.ACMEIssuer, _ string) { i.AccountKeyPEM = accountKey(t) }},
		{"a key that can't be asked about", "account", answers{"/account": {ok, j, "<html>"}},
			func(i *certmagic.ACMEIssuer, _ string) { i.AccountKeyPEM = accountKey(t) }},
		{"a callback", "account", nil, func(i *certmagic.ACMEIssuer, _ string) {
			i.NewAccountFunc = func(context.Context, *certmagic.ACMEIssuer, acme.Account) (acme.Account, error) {
				return acme.Account{}, errors.New("no key for you")
			}
		}},
		{"a name for nobody", "name", nil, func(i *certmagic.ACMEIssuer, _ string) { i.CA = "https://acme-v02.api.letsencrypt.org/directory" }},
		{"a folder that is a file", "storage", nil, func(_ *certmagic.ACMEIssuer, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "acme"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}},
		{"a lock that is a folder", "storage", nil, func(_ *certmagic.ACMEIssuer, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, "locks", "register_acme_account_nobody@example.test.lock"), 0o700); err != nil {
				t.Error(err)
			}
		}},

		{"nobody there", "ca:refused", nil, func(i *certmagic.ACMEIssuer, _ string) {
			i.CA = fmt.Sprintf("http://127.0.0.1:%d/directory", i.AltHTTPPort)
		}},
		{"no such name", "ca:dns", nil, func(i *certmagic.ACMEIssuer, _ string) {
			i.CA, i.Resolver = "https://ca.example.com/directory", "127.0.0.1:"+strconv.Itoa(i.AltHTTPPort)
		}},
		{"an unknown authority", "ca:tls", nil, func(i *certmagic.ACMEIssuer, _ string) {
			srv := httptest.NewUnstartedServer(nil)
			srv.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
			srv.StartTLS()
			t.Cleanup(srv.Close)
			i.CA = srv.URL
		}},
		{"no TLS", "ca:tls", nil, func(i *certmagic.ACMEIssuer, _ string) { i.CA = strings.Replace(i.CA, "http:", "https:", 1) }},
		{"a line that is cut", "ca:reset", nil, func(i *certmagic.ACMEIssuer, _ string) {
			srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
			t.Cleanup(srv.Close)
			i.CA = srv.URL
		}},
	}
	for _, kind := range wire.CertificateCause.Values {
		if kind, ok := strings.CutPrefix(kind, "acme:"); ok && kind != "other" {
			tests = append(tests, test{kind, "acme:" + kind, answers{"/order": problemOf(400, acme.ProblemTypeNamespace+kind)}, nil})
		}
	}
	covered := map[string]bool{"other": true, "canceled": true, "ca:api": true, "ca:unreachable": true} // below
	for _, test := range tests {
		covered[test.want] = true
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			name := "site.test"
			if test.want == "name" {
				name = "localhost"
			}
			err := failed(t, t.Context(), faulty(t, test.answers), name, test.prepare)
			if got := wire.CertificateCause.ValueName(causeOf(err)); got != test.want {
				t.Errorf("%s, want %s: %v", got, test.want, err)
			}
		})
	}
	for _, cause := range wire.CertificateCause.Values {
		if !covered[cause] {
			t.Errorf("nothing has the cause %s", cause)
		}
	}
}

func accountKey(t *testing.T) string {
	t.Helper()
	key, err := certmagic.StandardKeyGenerator{KeyType: certmagic.P256}.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var dnsOnly = map[string]acmeAnswer{"/authz": {http.StatusOK, "application/json",
	`{"status":"pending","identifier":{"type":"dns","value":"site.test"},"challenges":[{"type":"dns-01","url":"$URL/challenge","status":"pending","token":"t"}]}`}}

// late is a solver whose DNS record does not appear, and which meets an error
// of the network, which is none on the way to the CA.
type late struct{}

func (late) Present(context.Context, acme.Challenge) error { return nil }
func (late) CleanUp(context.Context, acme.Challenge) error { return nil }
func (late) Wait(context.Context, acme.Challenge) error {
	return fmt.Errorf("checking DNS propagation: %w", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
}

var _ acmez.Waiter = late{}

// What ends with the request's context, and ZeroSSL's own API.
func TestCausesOfAnEnd(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ended, end := context.WithCancel(t.Context())
	end()
	var cause error
	cache, magic := newMagic(t, t.TempDir(), func(data map[string]any) { cause, _ = data["error"].(error) })
	defer cache.Stop()
	magic.Issuers = []certmagic.Issuer{&certmagic.ZeroSSLIssuer{APIKey: "none", Storage: magic.Storage}}
	if magic.ObtainCertSync(ended, "site.test") == nil {
		t.Fatal("there is a certificate")
	}
	for _, test := range []struct {
		want string
		err  error
	}{
		{"timeout", failed(t, soon, silent.URL, "site.test", nil)},
		{"canceled", failed(t, ended, silent.URL, "site.test", nil)},
		{"ca:api", cause},
	} {
		if got := wire.CertificateCause.ValueName(causeOf(test.err)); got != test.want {
			t.Errorf("%s, want %s: %v", got, test.want, test.err)
		}
	}
}

// Errors that can't be had here.
func TestCausesOfCertificates(t *testing.T) {
	dial := func(err error) error {
		return fmt.Errorf("attempt 1: %w", &net.OpError{Op: "dial", Net: "tcp", Err: err})
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "other"},
		{errors.New("anything"), "other"},
		{acme.Problem{Type: acme.ProblemTypeNamespace + "secret.example"}, "acme:other"},
		{acme.Problem{}, "acme:other"},
		{dial(&net.DNSError{Err: "timeout", IsTimeout: true}), "ca:dns"},
		{dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), "ca:unreachable"},
		{dial(os.NewSyscallError("connect", syscall.EPERM)), "ca:unreachable"}, // a firewall
		{dial(os.NewSyscallError("connect", syscall.ETIMEDOUT)), "timeout"},
		{dial(os.NewSyscallError("read", syscall.ECONNRESET)), "ca:reset"},
		{fmt.Errorf("saving: %w", &fs.PathError{Op: "open", Err: syscall.EACCES}), "storage"},
		{fmt.Errorf("saving: %w", &fs.PathError{Op: "write", Err: syscall.ENOSPC}), "storage"},
		{fmt.Errorf("loading: %w", fs.ErrNotExist), "storage"}, // of a storage that is no file system
	} {
		if got := wire.CertificateCause.ValueName(causeOf(test.err)); got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
	}
}

// A CA's words are anybody's.
func FuzzCauseOfText(f *testing.F) {
	for _, t := range causeTexts {
		f.Add("attempt 1: https://ca.example/order: " + t.text + "site.test")
	}
	f.Add("attempt 1: https://ca.example/order: HTTP 503: <html>")
	f.Add("HTTP 400: JSON-decoding problem details: invalid character '<' looking for beginning of value (raw='<html>')")
	f.Add("looking up account with server: HTTP 400 urn:ietf:params:acme:error:accountDoesNotExist - no such account")
	f.Fuzz(func(t *testing.T, text string) {
		if cause := causeOfText(text); cause != "" && !wire.CertificateCause.Has(cause) {
			t.Errorf("%q is no cause", cause)
		}
	})
}
