package collect

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A kind of refusal is what metrics tell apart and what decides the status.
type kind string

const (
	kindMethod      kind = "method"
	kindMediaType   kind = "media_type"
	kindTooLarge    kind = "too_large"
	kindSenderRate  kind = "sender_rate"
	kindGlobalRate  kind = "global_rate"
	kindBusy        kind = "busy"
	kindBody        kind = "body"
	kindSlow        kind = "slow"
	kindHeader      kind = "header"
	kindSignature   kind = "signature"
	kindGone        kind = "gone"
	kindUndecodable kind = "undecodable"
	kindInvalid     kind = "invalid"
	kindClock       kind = "clock"
	kindFull        kind = "full"
	kindFailed      kind = "failed"
	kindUnsupported kind = "unsupported"
)

// answers is the one place that maps kinds to what strangers see.
var answers = map[kind]struct {
	status int
	title  string
}{
	kindMethod:      {http.StatusMethodNotAllowed, "method not allowed"},
	kindMediaType:   {http.StatusUnsupportedMediaType, "unsupported media type or encoding"},
	kindTooLarge:    {http.StatusRequestEntityTooLarge, "too large"},
	kindSenderRate:  {http.StatusTooManyRequests, "too many requests from this address"},
	kindGlobalRate:  {http.StatusTooManyRequests, "the server is at its limit"},
	kindBusy:        {http.StatusServiceUnavailable, "the server is busy"},
	kindBody:        {http.StatusBadRequest, "the body could not be read"},
	kindSlow:        {http.StatusRequestTimeout, "the body took too long"},
	kindHeader:      {http.StatusBadRequest, "key or signature is missing or malformed"},
	kindSignature:   {http.StatusForbidden, "the signature is wrong"},
	kindGone:        {http.StatusGone, "no more reports are wanted"},
	kindUndecodable: {http.StatusBadRequest, "the body can't be decoded"},
	kindInvalid:     {http.StatusUnprocessableEntity, "the content is not valid"},
	kindClock:       {http.StatusUnprocessableEntity, "the clocks disagree"},
	kindFull:        {http.StatusServiceUnavailable, "the server's disk is full"},
	kindFailed:      {http.StatusServiceUnavailable, "the server could not store it"},
	kindUnsupported: {http.StatusNotImplemented, "not supported by this server"},
}

// A refusal is an error that says what to tell the sender. Its detail is for
// strangers to read; cause is not.
type refusal struct {
	kind   kind
	detail string
	retry  time.Duration // for Retry-After, 0 for none
	cause  error
}

func (r *refusal) Error() string {
	s := string(r.kind)
	if r.detail != "" {
		s += ": " + r.detail
	}
	if r.cause != nil {
		s += ": " + r.cause.Error()
	}
	return s
}

func (r *refusal) Unwrap() error { return r.cause }

func refuse(k kind, detail string) error { return &refusal{kind: k, detail: detail} }

func retryLater(k kind, after time.Duration, detail string) error {
	return &refusal{kind: k, detail: detail, retry: after}
}

// tell writes err as a problem document and returns its kind.
func tell(w http.ResponseWriter, err error) kind {
	r := &refusal{kind: kindFailed}
	errors.As(err, &r)
	a := answers[r.kind]
	h := w.Header()
	if r.kind == kindMethod {
		h.Set("Allow", http.MethodPost)
	}
	if r.kind == kindMediaType {
		h.Set("Accept-Encoding", "zstd") // RFC 9110, 12.5.3: what a 415 was about
	}
	if r.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(r.retry.Seconds())), 10))
	}
	answer.Problem(w, wire.Problem{Title: a.title, Status: a.status, Detail: clip(r.detail)})
	return r.kind
}

// clip keeps a decoder from quoting a whole body back.
func clip(s string) string {
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + " …"
	}
	return s
}
