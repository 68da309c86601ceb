package collect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	maxForgetBody = 1 << 10
	maxForgetSkew = 10 * time.Minute
)

// forget deletes what is kept of one instance, for whoever has its key.
// Answered with 204 when it is gone for good.
func (c *Collector) forget(w http.ResponseWriter, r *http.Request, _ netip.Addr) error {
	if c.cfg.Forget == nil {
		return refuse(kindUnsupported, "this server does not delete; ask whoever runs it")
	}
	_, compressed, err := contentType(r, wire.TypeJSON)
	if err != nil {
		return err
	}
	if compressed {
		return refuse(kindMediaType, "this request is not compressed")
	}
	key, signature, err := credentials(r.Header)
	if err != nil {
		return err
	}
	body, err := c.readBody(w, r, maxForgetBody)
	if err != nil {
		return err
	}
	err = c.decode(r.Context(), func() error {
		return wire.Verify(key, wire.PurposeForget, body, signature)
	})
	if err != nil {
		return &refusal{kind: kindSignature, detail: wire.ErrSignature.Error(), cause: err}
	}
	f, err := decodeForget(body)
	if err != nil {
		return &refusal{kind: kindUndecodable, detail: err.Error(), cause: err}
	}
	id := wire.IDOf(key)
	if f.Instance != id.String() {
		return refuse(kindSignature, "a key can only ask for its own instance to be forgotten")
	}
	now := c.cfg.Now()
	if d := time.Unix(f.Time, 0).Sub(now); d > maxForgetSkew || d < -maxForgetSkew {
		return refuse(kindClock, fmt.Sprintf("a request is good for 10 minutes; here it is %s: make a new one, or set the clock of the machine that sends",
			now.UTC().Format(time.RFC3339)))
	}
	if err := c.cfg.Forget(r.Context(), id); err != nil {
		if r.Context().Err() == nil {
			c.cfg.Logger.Error("an instance could not be forgotten; its owner was asked to try again", "instance", id.String(), "error", err)
		}
		return &refusal{kind: kindFailed, retry: retryFailed, cause: err}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func decodeForget(body []byte) (f wire.Forget, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("decoding the request: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return f, fmt.Errorf("decoding the request: there is something after its end")
	}
	return f, nil
}
