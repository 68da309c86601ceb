package alerts

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/watch"
)

// retries are the pauses that Standard Webhooks recommends.
var retries = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// confirmations is how many attempts a new webhook has to answer.
const confirmations = 4

// A Message is the body of a webhook.
type Message struct {
	Type      string    `json:"type"` // "alert.departed"
	Timestamp time.Time `json:"timestamp"`
	Data      Data      `json:"data"`
}

// Data is what a message tells.
type Data struct {
	Subscription string `json:"subscription"`
	Name         string `json:"name"`
	Instance     string `json:"instance,omitempty"`
	Page         string `json:"page,omitempty"`
	watch.Event
}

// tell keeps an event, and its delivery if there is a webhook that answers.
func (s *Service) tell(ctx context.Context, tx *sql.Tx, sub subscription, e watch.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	delivery := ""
	if sub.url != "" {
		var told int
		err := tx.QueryRowContext(ctx, "SELECT count(*) FROM alert_events WHERE subscription = $1 AND time > $2", sub.id, control.Micros(e.Time.Add(-24*time.Hour))).Scan(&told)
		switch {
		case err != nil:
			return err
		case sub.state != stateActive:
			delivery = "not sent: the webhook has not answered yet"
		case told >= maxTold:
			delivery = fmt.Sprintf("not sent: more than %d in a day", maxTold)
		default:
			delivery = "to be sent"
			m := Message{Type: "alert." + string(e.Type), Timestamp: e.Time.UTC(), Data: Data{Subscription: sub.id, Name: sub.name, Instance: sub.instance, Event: e}}
			if s.cfg.URL != "" {
				m.Data.Page = strings.TrimSuffix(s.cfg.URL, "/") + "/alerts/" + sub.id
			}
			payload, err := json.Marshal(m)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "INSERT INTO alert_deliveries (event, subscription, body, attempts, due) VALUES ($1, $2, $3, 0, $4)",
				e.ID, sub.id, string(payload), control.Micros(e.Time))
			if err != nil {
				return err
			}
		}
	}
	s.m.events.WithLabelValues(string(e.Type)).Inc()
	_, err = tx.ExecContext(ctx, "INSERT INTO alert_events (id, subscription, time, body, delivery) VALUES ($1, $2, $3, $4, $5)",
		e.ID, sub.id, control.Micros(e.Time), string(body), delivery)
	s.stir()
	return err
}

// stir has deliver look now.
func (s *Service) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// A delivery is an attempt to be made.
type delivery struct {
	event, body string
	attempts    int
	sub         subscription
}

const (
	senders  = 4
	atATime  = 32
	claimFor = time.Minute // longer than an attempt takes
)

// deliver makes all attempts that are due.
func (s *Service) deliver(ctx context.Context) error {
	for ctx.Err() == nil {
		ds, err := s.claim(ctx)
		if err != nil || len(ds) == 0 {
			return err
		}
		var wg sync.WaitGroup
		next := make(chan delivery)
		for range min(senders, len(ds)) {
			wg.Go(func() {
				for d := range next {
					err := s.caught(ctx, func(ctx context.Context) error { return s.attempt(ctx, d) })
					if err != nil && ctx.Err() == nil {
						s.cfg.Logger.Error("what became of an alert's delivery can't be kept; it may be sent twice", "subscription", short(d.sub.id), "error", err)
					}
				}
			})
		}
		for _, d := range ds {
			next <- d
		}
		close(next)
		wg.Wait()
	}
	return nil
}

// claim takes deliveries that are due, so that no other server does. One whose
// server ends is due again a minute later.
func (s *Service) claim(ctx context.Context) ([]delivery, error) {
	now := s.cfg.Now()
	var ds []delivery
	err := s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		ds = nil
		err := control.EachRow(ctx, tx, func(rows *sql.Rows) error {
			var d delivery
			err := rows.Scan(&d.event, &d.sub.id, &d.body, &d.attempts)
			ds = append(ds, d)
			return err
		}, "SELECT event, subscription, body, attempts FROM alert_deliveries WHERE due <= $1 ORDER BY due LIMIT $2", control.Micros(now), atATime)
		if err != nil {
			return err
		}
		for i := range ds {
			if ds[i].sub, err = one(ctx, tx, ds[i].sub.id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE alert_deliveries SET due = $1 WHERE event = $2", control.Micros(now.Add(claimFor)), ds[i].event); err != nil {
				return err
			}
		}
		return nil
	})
	return ds, err
}

// attempt posts once and keeps what became of it.
func (s *Service) attempt(ctx context.Context, d delivery) error {
	status, says := s.post(ctx, d)
	if ctx.Err() != nil {
		return nil // not the webhook's fault: the claim runs out
	}
	now, attempts := s.cfg.Now(), d.attempts+1
	good := status >= 200 && status < 300
	last := attempts > len(s.cfg.Retry) || d.sub.state == statePending && attempts >= confirmations
	outcome := "failed"
	if good {
		outcome = "delivered"
	}
	s.m.attempts.WithLabelValues(outcome).Inc()
	return s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		sub, err := one(ctx, tx, d.sub.id)
		if errors.Is(err, errUnknown) {
			return nil // ended meanwhile
		} else if err != nil {
			return err
		}
		text := "delivered"
		switch {
		case good:
			sub.state, sub.why, sub.failing, sub.heard = stateActive, "", time.Time{}, now
		case status == http.StatusGone:
			sub.state, sub.why = stateEnded, "its webhook answered that it is gone"
		default:
			text = says + "; it is tried again"
			if sub.failing.IsZero() {
				sub.failing = now
			}
			switch {
			case last && sub.state == statePending:
				sub.state, sub.why = stateEnded, fmt.Sprintf("its webhook never answered with success: it %s", says)
			case now.Sub(sub.failing) > givenUpAfter:
				sub.state, sub.why = stateEnded, fmt.Sprintf("its webhook failed for five days: it %s", says)
			}
		}
		if !good && (last || sub.state == stateEnded) {
			text = says + "; given up"
		}
		if sub.state == stateEnded {
			sub.heard = now // from now on it is kept for some days
			if _, err := tx.ExecContext(ctx, "DELETE FROM alert_deliveries WHERE subscription = $1", sub.id); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "UPDATE alert_subscriptions SET state = $1, why = $2, failing = $3, heard = $4 WHERE id = $5",
			sub.state, sub.why, control.Micros(sub.failing), control.Micros(sub.heard), sub.id)
		if err != nil {
			return err
		}
		if good || last {
			_, err = tx.ExecContext(ctx, "DELETE FROM alert_deliveries WHERE event = $1", d.event)
		} else {
			pause := s.cfg.Retry[attempts-1]
			pause += time.Duration(rand.Int64N(int64(pause)/10 + 1)) // so that not all come at once
			_, err = tx.ExecContext(ctx, "UPDATE alert_deliveries SET attempts = $1, due = $2 WHERE event = $3", attempts, control.Micros(now.Add(pause)), d.event)
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE alert_events SET delivery = $1 WHERE id = $2", text, d.event)
		return err
	})
}

// post sends a message. What it says is all that a subscriber learns: no cause,
// which would tell what listens where.
func (s *Service) post(ctx context.Context, d delivery) (status int, says string) {
	const silent = "could not be reached"
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := checkURL(d.sub.url, s.cfg.Private); err != nil {
		return 0, silent // the configuration changed
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.sub.url, bytes.NewReader([]byte(d.body)))
	if err != nil {
		return 0, silent
	}
	at := strconv.FormatInt(s.cfg.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Evergreen-Alerts/1")
	r.Header.Set("Webhook-Id", "msg_"+d.event)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", Sign(d.sub.secret, "msg_"+d.event, at, []byte(d.body)))
	resp, err := s.client.Do(r)
	if err != nil {
		return 0, silent
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // a decent end; nothing of it is of interest
	return resp.StatusCode, fmt.Sprintf("answered %d", resp.StatusCode)
}

// Sign is the webhook-signature of Standard Webhooks.
func Sign(secret []byte, id, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s.%s.", id, timestamp)
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// maxSkew is how old or early a message may be.
const maxSkew = 5 * time.Minute

// Verify is what a receiver does with a message: it checks the signature with the
// secret ("whsec_…"), and that the message is not an old one sent again.
func Verify(secret string, h http.Header, body []byte, now time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return errors.New(`the secret is not "whsec_" and base64`)
	}
	at, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > maxSkew {
		return errors.New("the message is too old, or has no time")
	}
	want := Sign(key, h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body)
	for got := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(got), []byte(want)) {
			return nil
		}
	}
	return errors.New("the signature is of another secret or message")
}
