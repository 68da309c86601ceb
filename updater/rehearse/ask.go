package rehearse

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Limits of one request.
const (
	askTime  = 10 * time.Second
	quicTime = 3 * time.Second // for a handshake over UDP, where nobody refuses
	bodyTime = 3 * time.Second
	maxBody  = 256 << 10
	sniffed  = 512 // bytes by which a type is guessed
	maxHead  = 256 << 10
)

// A version of HTTP, as it is asked for.
type version string

const (
	http1  version = "HTTP/1.1"
	http2  version = "HTTP/2"
	h2c    version = "HTTP/2 without TLS"
	http3v version = "HTTP/3"
)

// A question is one request, without whom it goes to.
type question struct {
	tls     bool
	version version
	host    string
	port    int // that the client believes to ask, of the running server
	path    string
	mark    string
}

// authority is the host as it is in the request.
func (q question) authority() string {
	host := q.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if q.port == 0 || q.tls && q.port == 443 || !q.tls && q.port == 80 {
		return host
	}
	return net.JoinHostPort(q.host, strconv.Itoa(q.port))
}

func (q question) String() string {
	scheme := "http://"
	if q.tls {
		scheme = "https://"
	}
	return scheme + q.authority() + q.path + " over " + string(q.version)
}

// ask sends a question to an endpoint, over a connection of its own.
func (n normal) ask(ctx context.Context, to endpoint, q question) answer {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	config := &tls.Config{
		ServerName: q.host,
		// What is served is compared, whether the system trusts it or not.
		InsecureSkipVerify: true, //nolint:gosec
	}
	transport, end := q.transport(to, config)
	defer end()
	scheme := "http"
	if q.tls {
		scheme = "https"
	}
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: scheme, Host: q.authority(), Path: q.path},
		Host:   q.authority(),
		Header: http.Header{
			"User-Agent":      {"evergreen-rehearsal"},
			"Accept":          {"*/*"},
			"Accept-Encoding": {"gzip"},
		},
	}).WithContext(ctx)
	if q.mark != "" {
		req.Header.Set(MarkHeader, q.mark)
	}
	began := time.Now()
	resp, err := transport.RoundTrip(req)
	took := time.Since(began)
	if err != nil {
		return answer{failure: failureOf(err), took: took}
	}
	defer resp.Body.Close()
	beginning, bodyErr := drain(resp.Body)
	return n.read(resp, beginning, bodyErr, took)
}

// transport speaks the question's version of HTTP with one endpoint.
func (q question) transport(to endpoint, config *tls.Config) (http.RoundTripper, func()) {
	if q.version == http3v {
		config.NextProtos = []string{http3.NextProtoH3}
		t := &http3.Transport{
			TLSClientConfig:        config,
			QUICConfig:             &quic.Config{HandshakeIdleTimeout: quicTime, MaxIdleTimeout: askTime},
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHead,
			Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, c *quic.Config) (*quic.Conn, error) {
				return to.dialQUIC(ctx, tlsConfig, c)
			},
		}
		return t, func() { _ = t.Close() }
	}
	protocols := new(http.Protocols)
	switch q.version {
	case http1:
		protocols.SetHTTP1(true)
		config.NextProtos = []string{"http/1.1"}
	case http2:
		protocols.SetHTTP2(true)
		config.NextProtos = []string{"h2"}
	case h2c:
		protocols.SetUnencryptedHTTP2(true)
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return to.dial(ctx)
		},
		TLSClientConfig:        config,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHead,
		TLSHandshakeTimeout:    askTime,
	}
	return t, t.CloseIdleConnections
}

// drain reads a body up to a bound of size and time. It returns what it begins
// with, and how it failed.
func drain(body io.ReadCloser) (beginning []byte, failure string) {
	timer := time.AfterFunc(bodyTime, func() { body.Close() })
	beginning, err := io.ReadAll(io.LimitReader(body, sniffed))
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(body, maxBody))
	}
	if !timer.Stop() && err != nil || err == nil {
		return beginning, "" // a stream goes on for as long as it likes
	}
	return beginning, failureOf(err)
}

// failureOf is the kind of an error, without what differs from time to time.
func failureOf(err error) string {
	var (
		alert  tls.AlertError
		record tls.RecordHeaderError
		quicE  *quic.TransportError
		idle   *quic.IdleTimeoutError
		shake  *quic.HandshakeTimeoutError
		app    *quic.ApplicationError
		h3     *http3.Error
		netErr net.Error
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return failureRefused
	case errors.As(err, &quicE):
		if quicE.ErrorCode.IsCryptoError() {
			return "a failed handshake (" + quicE.ErrorCode.String() + ")"
		}
		return "a QUIC error (" + quicE.ErrorCode.String() + ")"
	case errors.As(err, &alert):
		return "a failed handshake (" + alert.Error() + ")"
	case errors.As(err, &record):
		return failureNoTLS
	case errors.As(err, &shake), errors.As(err, &idle):
		return failureTimeout
	case errors.As(err, &h3), errors.As(err, &app):
		return "an aborted connection"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &netErr) && netErr.Timeout():
		return failureTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "a connection that ends"
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "tls: "):
		_, why, _ := strings.Cut(text, "tls: ")
		return "a failed handshake (" + clip(why, 80) + ")"
	case strings.Contains(text, "HTTP response to HTTPS client"):
		return failureNoTLS
	case strings.Contains(text, "GOAWAY"), strings.Contains(text, "stream error"), strings.Contains(text, "unexpected EOF"):
		return "a connection that ends"
	}
	return "no answer of HTTP"
}

// Failures that say what a listener is.
const (
	failureRefused = "a refused connection"
	failureTimeout = "no answer in time"
	failureNoTLS   = "no TLS"
)

// speaksTLS finds out whether a TCP or unix listener is TLS. ok is whether it
// could be found out.
func speaksTLS(ctx context.Context, to endpoint, host string) (encrypted, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	nc, err := to.dial(ctx)
	if err != nil {
		return false, false
	}
	defer nc.Close()
	c := tls.Client(nc, &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}) //nolint:gosec
	err = c.HandshakeContext(ctx)
	var record tls.RecordHeaderError
	switch {
	case err == nil:
		return true, true
	case errors.As(err, &record):
		return false, true // it spoke, and no TLS
	case strings.Contains(err.Error(), "remote error: tls"), strings.Contains(err.Error(), "tls: "):
		return true, true // it refuses, in TLS
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return false, true // a server of plain HTTP may just close
	}
	return false, false
}
