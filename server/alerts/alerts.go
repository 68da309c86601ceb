// Package alerts tells people when a number departs from what is usual for it.
//
// In come subscriptions: of an instance, by whoever has a link that the
// instance's key has signed, or of a public number, by anybody. Out go webhooks
// and Atom feeds. What departs is for package watch to judge; the numbers are
// read through Source, so that nobody is told what no page would show.
//
// # Guarantees
//
// A change of a watch's state, the event that tells of it and the delivery of
// that event are one transaction: whatever crashes, an event is told, and a
// webhook gets it once or, where its answer was lost, again with the same
// webhook-id. Several servers may share the state.
//
// What fails in a watch or a webhook holds up no other one, and no page.
//
// Webhooks reach public addresses only (unless Config.Private), by TLS, without
// following a redirect; a subscriber learns an answer's status and nothing else
// of what is at the address. The address is checked when it is connected to, so
// that a name that resolves differently the next time is no way around it.
//
// # Webhooks
//
// They follow Standard Webhooks 1.0 (standardwebhooks.com): a POST of JSON
//
//	{"type": "alert.departed", "timestamp": "2026-11-21T10:05:00Z", "data": {…}}
//
// with the headers webhook-id, webhook-timestamp (Unix seconds) and
// webhook-signature, which is "v1," and the base64 of the HMAC-SHA256, keyed with
// what follows "whsec_" in the subscription's secret, of
//
//	webhook-id + "." + webhook-timestamp + "." + body
//
// Types are alert.subscribed, which a webhook has to answer with 2xx before it gets
// any other, alert.departed and alert.returned. Any 2xx within 15 seconds is
// success; 410 ends the subscription; anything else is tried again, ten times
// within four days. A webhook that answers nothing for five days is given up.
//
// # Identity
//
// Who subscribes gets an id, which reads the subscription and its feed, and a
// token, which ends it. The token is kept as its SHA-256. An instance's
// subscriptions are also listed for, and ended by, whoever has its link, and are
// deleted when the instance is forgotten. No address of who subscribed is kept.
package alerts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Source has the numbers. An id of nil asks for everybody's, as far as they are
// public.
type Source interface {
	// CheckWatch refuses a watch whose question can't be asked, of an instance or
	// of all, and brings the question into its usual form. unit is of its values.
	CheckWatch(w *watch.Watch, own bool) (unit string, err error)
	// HourlyReadings are those of whole hours that begin at or after from and for which
	// instances have had the time to report; hours without one are left out.
	HourlyReadings(ctx context.Context, id *wire.InstanceID, w watch.Watch, from time.Time) ([]watch.Reading, error)
	// LatestReading is that of the last 60 minutes for which instances have had the
	// time to report; nil if there is none.
	LatestReading(ctx context.Context, id *wire.InstanceID, w watch.Watch) (*watch.Reading, error)
}

// Config is what a Service needs. DB and Source are required.
type Config struct {
	DB     *control.DB
	Source Source
	// Public are watches that everybody sees: the subscription called "public".
	Public []watch.Watch
	// URL is the service's own, as people reach it; "" leaves links out of webhooks.
	URL  string
	Name string // of the service, in feeds; "" means Evergreen
	// Private lets webhooks go to any address, and without TLS: for a
	// deployment whose subscribers are all trusted.
	Private bool
	// Most is how many subscriptions there may be; 5000 if zero.
	Most int
	// Every is how often a watch is looked at; five minutes if zero.
	Every time.Duration
	// Retry are the pauses between attempts of a delivery; nil means the usual.
	Retry []time.Duration
	// Limit takes one new subscription from its sender's share, or says after
	// what time there is some. Nil: senders are not limited.
	Limit      func(*http.Request) time.Duration
	Now        func() time.Time  // nil means time.Now
	Transport  http.RoundTripper // of webhooks; nil means one that reaches public addresses only
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil drops the metrics
}

// A Service keeps subscriptions and tells what happens.
type Service struct {
	cfg    Config
	client *http.Client
	wake   chan struct{} // there is something to deliver
	m      *metrics
}

//go:embed sql/*.sql
var steps embed.FS

// PublicID is the id of the subscription that everybody has.
const PublicID = "public"

// Limits of what is kept.
const (
	maxWatches     = 12  // of a subscription
	maxOfInstance  = 10  // subscriptions
	maxOfURL       = 5   // subscriptions
	maxOfHost      = 500 // subscriptions
	maxURL         = 500 // bytes
	maxEvents      = 100 // of a subscription in an answer
	maxTold        = 50  // events of a subscription that are delivered in a day
	keepEvents     = 90 * 24 * time.Hour
	keepUnread     = 60 * 24 * time.Hour // a feed without webhook
	keepEnded      = 7 * 24 * time.Hour
	givenUpAfter   = 5 * 24 * time.Hour
	requestTimeout = 15 * time.Second
	lookTimeout    = time.Minute
)

// Open brings the tables up to date and starts nothing.
func Open(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.DB == nil || cfg.Source == nil {
		return nil, errors.New("alerts need a control state and a source of numbers")
	}
	if cfg.Name == "" {
		cfg.Name = "Evergreen"
	}
	if cfg.Most <= 0 {
		cfg.Most = 5000
	}
	if cfg.Every <= 0 {
		cfg.Every = 5 * time.Minute
	}
	if cfg.Retry == nil {
		cfg.Retry = retries
	}
	if cfg.Limit == nil {
		cfg.Limit = func(*http.Request) time.Duration { return 0 }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Transport == nil {
		cfg.Transport = transport(cfg.Private)
	}
	s := &Service{cfg: cfg, wake: make(chan struct{}, 1), client: &http.Client{
		Transport: cfg.Transport, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var err error
	if s.m, err = newMetrics(cfg.Registerer); err != nil {
		return nil, err
	}
	folder, err := fs.Sub(steps, "sql")
	if err != nil {
		return nil, err
	}
	list, err := control.Steps(folder)
	if err != nil {
		return nil, err
	}
	if err := cfg.DB.Migrate(ctx, "alerts", list); err != nil {
		return nil, err
	}
	return s, s.keepPublic(ctx)
}

// keepPublic makes the public subscription what the configuration says. Watches
// that are in it already keep what they learnt.
func (s *Service) keepPublic(ctx context.Context) error {
	type line struct{ body, unit string }
	var lines []line
	for _, w := range s.cfg.Public {
		if err := w.Complete(); err != nil {
			return fmt.Errorf("the public watch %q: %w", w.Name, err)
		}
		unit, err := s.cfg.Source.CheckWatch(&w, false)
		if err != nil {
			return fmt.Errorf("the public watch %q: %w", w.Name, err)
		}
		b, err := json.Marshal(w)
		if err != nil {
			return err
		}
		lines = append(lines, line{string(b), unit})
	}
	now := s.cfg.Now()
	token := make([]byte, sha256.Size)
	_, _ = rand.Read(token) // never fails; no token has this hash
	return s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, insertSubscription+" ON CONFLICT (id) DO UPDATE SET name = excluded.name",
			PublicID, token, "What is unusual at "+s.cfg.Name, "", "", "", []byte{}, stateActive, "", 0, control.Micros(now), control.Micros(now))
		if err != nil {
			return err
		}
		had := map[int64]string{}
		err = control.EachRow(ctx, tx, func(rows *sql.Rows) error {
			var n int64
			var body string
			err := rows.Scan(&n, &body)
			had[n] = body
			return err
		}, "SELECT n, body FROM alert_watches WHERE subscription = $1", PublicID)
		if err != nil {
			return err
		}
		for n, body := range had {
			if n < int64(len(lines)) && lines[n].body == body {
				continue
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM alert_watches WHERE subscription = $1 AND n = $2", PublicID, n); err != nil {
				return err
			}
		}
		for n, l := range lines {
			if had[int64(n)] == l.body {
				continue
			}
			if err := insertWatch(ctx, tx, PublicID, n, l.body, l.unit, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// newID is 128 random bits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// A fault is an error that is the asker's to mend, so that the asker is told.
type fault struct {
	status        int
	title, detail string
}

func (f *fault) Error() string { return f.title + ": " + f.detail }

// Problem is what the asker is told.
func (f *fault) Problem() wire.Problem {
	return wire.Problem{Title: f.title, Status: f.status, Detail: f.detail}
}

func invalid(format string, args ...any) error {
	return &fault{http.StatusUnprocessableEntity, "this is not understood", fmt.Sprintf(format, args...)}
}

var (
	errUnknown = &fault{http.StatusNotFound, "there is no such subscription", "It may have been ended. Was its id cut off while it was copied?"}
	errToken   = &fault{http.StatusForbidden, "this does not end the subscription", "It takes the token that was told when it was made, or the instance's link."}
)
