package reporter

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	sendTimeout = 30 * time.Second
	maxAnswer   = 64 << 10
)

// CheckEndpoint says what is wrong with an endpoint. An empty one is right: it
// means that nothing is sent.
func CheckEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		return fmt.Errorf("endpoint %.100q is no URL of a service: write it like https://telemetry.example", endpoint)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("endpoint %.100q must not have a user, a query or a fragment: write it like https://telemetry.example", u.Redacted())
	}
	return nil
}

func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = http.DefaultTransport
		if t, ok := transport.(*http.Transport); ok {
			t = t.Clone()
			t.MaxResponseHeaderBytes = maxAnswer
			transport = t
		}
	}
	return &http.Client{Transport: transport, CheckRedirect: followRedirect}
}

// followRedirect follows a server within itself only: reports go to the
// endpoint that the operator was told of, and not unencrypted if it was https.
func followRedirect(next *http.Request, via []*http.Request) error {
	from := via[0].URL
	sameHost := strings.EqualFold(next.URL.Hostname(), from.Hostname())
	safe := next.URL.Scheme == from.Scheme && next.URL.Host == from.Host || next.URL.Scheme == "https"
	if len(via) > 3 || next.Method != via[0].Method || !sameHost || !safe {
		return http.ErrUseLastResponse
	}
	return nil
}

// A message is a signed request.
type message struct {
	path      string
	mediaType string
	encoding  string
	purpose   wire.Purpose
	key       ed25519.PrivateKey
	body      []byte
	version   string // of the module, for User-Agent
}

// An answer is what came back, whatever its status.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (r *Reporter) post(ctx context.Context, endpoint string, m message) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(endpoint, "/")+m.path, bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", m.mediaType)
	if m.encoding != "" {
		req.Header.Set("Content-Encoding", m.encoding)
	}
	req.Header.Set("Accept", wire.TypeJSON+", "+wire.TypeProblem)
	req.Header.Set("User-Agent", userAgent(m.version))
	req.Header.Set(wire.HeaderKey, hex.EncodeToString(m.key.Public().(ed25519.PublicKey)))
	req.Header.Set(wire.HeaderSignature, hex.EncodeToString(wire.Sign(m.key, m.purpose, m.body)))
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the server's answer has more than %d bytes: is %s an Evergreen service?", maxAnswer, endpoint)
	}
	return &answer{res.StatusCode, res.Header, body}, nil
}

// userAgent names the module and nothing else of the instance.
func userAgent(version string) string {
	version = strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune(".-+", c) {
			return c
		}
		return -1
	}, version)
	if version == "" {
		version = "devel"
	}
	return "evergreen/" + version[:min(len(version), 64)]
}

// A verdict is what an answer means for the report that was sent.
type verdict int

const (
	accepted verdict = iota // Ack.StoredThrough says what is stored
	rejected                // it will never be accepted
	later                   // try again after a wait that the server named, or else as after a failure
	gone                    // send nothing more until the next start
)

// judge reads an answer. The error tells the operator why a report was not accepted.
func (a *answer) judge() (verdict, wire.Ack, error) {
	switch {
	case a.status == http.StatusOK:
		ack, err := parseAck(a.body)
		if err != nil {
			return later, ack, err
		}
		return accepted, ack, nil
	case a.status == http.StatusGone:
		return gone, wire.Ack{}, a.problem()
	case a.status == http.StatusBadRequest,
		a.status == http.StatusRequestEntityTooLarge,
		a.status == http.StatusUnprocessableEntity,
		a.rejects():
		return rejected, wire.Ack{}, a.problem()
	default:
		return later, wire.Ack{}, a.problem()
	}
}

// rejects reports whether an error that a firewall or a proxy on the way could
// have made is the service's own: that one describes its errors.
func (a *answer) rejects() bool {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed,
		http.StatusNotAcceptable, http.StatusLengthRequired, http.StatusUnsupportedMediaType:
		return a.isProblem()
	}
	return false
}

func (a *answer) isProblem() bool {
	t, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && t == wire.TypeProblem
}

// problem is an error answer in words.
func (a *answer) problem() error {
	var p wire.Problem
	if a.isProblem() && json.Unmarshal(a.body, &p) == nil && p.Title != "" {
		text := p.Title
		if p.Detail != "" {
			text += ": " + p.Detail
		}
		return fmt.Errorf("the server answered %d: %s", a.status, printable(text))
	}
	return fmt.Errorf("the server answered %d %s", a.status, http.StatusText(a.status))
}

// printable keeps a server from writing into the log whatever it likes.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s[:min(len(s), 300)], ""))
}

// parseAck is strict about what the instance acts on, so that a page of
// something else than the service is not taken for an answer. Fields that a
// newer server adds are ignored.
func parseAck(body []byte) (wire.Ack, error) {
	var a struct {
		StoredThrough *uint64 `json:"stored_through"`
		ReportEvery   *int64  `json:"report_every"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	err := d.Decode(&a)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("something follows the JSON value")
		}
	}
	if err == nil && a.StoredThrough == nil {
		err = errors.New("stored_through is missing")
	}
	if err != nil {
		return wire.Ack{}, fmt.Errorf("the server answered 200, but not as an Evergreen service does: %w", err)
	}
	ack := wire.Ack{StoredThrough: *a.StoredThrough}
	if a.ReportEvery != nil {
		ack.ReportEvery = *a.ReportEvery
	}
	return ack, nil
}
