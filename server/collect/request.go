package collect

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/caddy-evergreen/evergreen/server/senders"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A handlerFunc answers a request whose method and rate were found good, or
// returns why it can't.
type handlerFunc func(w http.ResponseWriter, r *http.Request, sender netip.Addr) error

// handler does what comes before a body is read: method and rates.
func (c *Collector) handler(path string, next handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		outcome := "ok"
		if err := c.serve(w, r, next); err != nil {
			// Answered even if nobody seems to be there: what isn't would be a 200.
			outcome = string(tell(w, err))
			if errors.Is(err, context.Canceled) {
				outcome = "hung_up"
			}
		}
		c.m.requests.WithLabelValues(path, outcome).Inc()
		c.m.duration.WithLabelValues(path).Observe(time.Since(start).Seconds())
	})
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request, next handlerFunc) error {
	if r.Method != http.MethodPost {
		return refuse(kindMethod, "use POST")
	}
	sender := senders.Address(r, c.cfg.TrustedProxies)
	if err := c.admit.allow(sender, c.cfg.Now()); err != nil {
		return err
	}
	select {
	case c.inFlight <- struct{}{}:
		defer func() { <-c.inFlight }()
	default:
		return retryLater(kindBusy, 5*time.Second, "too many requests are being handled at once")
	}
	return next(w, r, sender)
}

// contentType checks what kind of body is declared.
func contentType(r *http.Request, allowed ...string) (mediaType string, compressed bool, err error) {
	mediaType, _, err = mime.ParseMediaType(r.Header.Get("Content-Type"))
	known := false
	for _, a := range allowed {
		known = known || err == nil && mediaType == a
	}
	if !known {
		return "", false, refuse(kindMediaType, fmt.Sprintf("send Content-Type: %s", allowed[0]))
	}
	encodings := r.Header.Values("Content-Encoding")
	switch {
	case len(encodings) == 0 || len(encodings) == 1 && (encodings[0] == "" || encodings[0] == "identity"):
		return mediaType, false, nil
	case len(encodings) == 1 && encodings[0] == "zstd":
		return mediaType, true, nil
	}
	return "", false, refuse(kindMediaType, "the body may have Content-Encoding: zstd, or none")
}

// readBody reads what may be limit bytes, in bounded time.
func (c *Collector) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	tooLarge := refuse(kindTooLarge, fmt.Sprintf("a body has at most %d bytes", limit))
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	ctl := http.NewResponseController(w)
	// The connection's deadlines are in real time, whatever Config.Now says.
	err := ctl.SetReadDeadline(time.Now().Add(c.cfg.Limits.BodyTimeout))
	timed := err == nil
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, &refusal{kind: kindBody, cause: err}
	}
	// The buffer grows with what arrives: a declared length alone costs nothing.
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 512), 8<<10)))
	_, err = b.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	c.m.bytes.Add(float64(b.Len()))
	if timed && err == nil {
		// Else the deadline would cut the connection while the log syncs.
		err = ctl.SetReadDeadline(time.Time{})
	}
	var tooBig *http.MaxBytesError
	switch {
	case err == nil:
		return b.Bytes(), nil
	case errors.As(err, &tooBig):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		// Nothing more of this connection can be read.
		w.Header().Set("Connection", "close")
		return nil, refuse(kindSlow, fmt.Sprintf("a body must arrive within %s", c.cfg.Limits.BodyTimeout))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &refusal{kind: kindBody, detail: "it ended early", cause: err}
	}
	return nil, &refusal{kind: kindBody, cause: err}
}

// credentials reads the header fields that sign a body.
func credentials(h http.Header) (key ed25519.PublicKey, signature []byte, err error) {
	for _, f := range []struct {
		name string
		size int
		to   *[]byte
	}{
		{wire.HeaderKey, ed25519.PublicKeySize, (*[]byte)(&key)},
		{wire.HeaderSignature, ed25519.SignatureSize, &signature},
	} {
		v := h.Values(f.name)
		if len(v) != 1 || len(v[0]) != hex.EncodedLen(f.size) {
			return nil, nil, refuse(kindHeader, fmt.Sprintf("send one %s of %d hexadecimal digits", f.name, hex.EncodedLen(f.size)))
		}
		b, err := hex.DecodeString(v[0])
		if err != nil {
			return nil, nil, refuse(kindHeader, f.name+" is not hexadecimal")
		}
		*f.to = b
	}
	return key, signature, nil
}

// decode runs f in one of the few slots for work that costs processor time and
// memory. A sender can wait for a slot, but not for longer than it stays.
func (c *Collector) decode(ctx context.Context, f func() error) error {
	select {
	case c.decoding <- struct{}{}:
		defer func() { <-c.decoding }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}
