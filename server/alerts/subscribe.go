package alerts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// States of a subscription.
const (
	statePending = "pending" // its webhook has not answered yet
	stateActive  = "active"
	stateEnded   = "ended" // by its webhook, which is gone or silent
)

const insertSubscription = `INSERT INTO alert_subscriptions
	(id, token, name, instance, url, host, secret, state, why, failing, heard, created)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

func insertWatch(ctx context.Context, tx *sql.Tx, id string, n int, body, unit string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO alert_watches
		(subscription, n, body, unit, state, since, side, streak, latest, history, due)
		VALUES ($1, $2, $3, $4, $5, $6, 0, 0, '', $7, $8)`,
		id, n, body, unit, string(watch.Learning), control.Micros(now), []byte{}, control.Micros(now))
	return err
}

// Subscribe makes a subscription. Its error may have a method Problem.
func (s *Service) Subscribe(ctx context.Context, r watch.Request) (watch.Created, error) {
	var none watch.Created
	if len(r.Watches) == 0 || len(r.Watches) > maxWatches {
		return none, invalid("A subscription watches 1 to %d numbers.", maxWatches)
	}
	if !watch.Printable(r.Name, watch.MaxName) {
		return none, invalid("The name has at most %d bytes, all printable.", watch.MaxName)
	}
	host := ""
	if r.URL != "" {
		var err error
		if host, err = checkURL(r.URL, s.cfg.Private); err != nil {
			return none, invalid("%v.", err)
		}
	}
	var bodies, units []string
	for i := range r.Watches {
		w := r.Watches[i]
		if err := w.Complete(); err != nil {
			return none, invalid("Watch %d: %v.", i+1, err)
		}
		if w.Measure == watch.Silence && r.Instance == nil {
			return none, invalid("Watch %d: only an instance falls silent.", i+1)
		}
		unit, err := s.cfg.Source.CheckWatch(&w, r.Instance != nil)
		if err != nil {
			return none, err
		}
		b, err := json.Marshal(w)
		if err != nil {
			return none, err
		}
		bodies, units = append(bodies, string(b)), append(units, unit)
	}
	if r.Name == "" {
		r.Name = r.Watches[0].Name
	}
	if r.Name == "" {
		r.Name = "Alerts"
	}
	now, state, instance := s.cfg.Now(), stateActive, ""
	if r.Instance != nil {
		instance = r.Instance.String()
	}
	id, token := newID(), newID()
	hash := sha256.Sum256([]byte(token))
	secret := []byte{}
	if r.URL != "" {
		state, secret = statePending, make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
	}
	err := s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		if err := s.room(ctx, tx, instance, r.URL, host); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, insertSubscription, id, hash[:], r.Name, instance, r.URL, host, secret, state, "", 0, control.Micros(now), control.Micros(now))
		if err != nil {
			return err
		}
		for n := range bodies {
			if err := insertWatch(ctx, tx, id, n, bodies[n], units[n], now); err != nil {
				return err
			}
		}
		if r.URL == "" {
			return nil
		}
		return s.tell(ctx, tx, subscription{id: id, name: r.Name, instance: instance, url: r.URL, state: stateActive}, watch.Event{
			ID: newID(), Type: subscribed, Time: now, Text: "This webhook gets what happens from now on.",
		})
	})
	if err != nil {
		return none, err
	}
	s.stir()
	c := watch.Created{ID: id, Token: token, Page: "/alerts/" + id, Feed: feedPath(id)}
	if len(secret) > 0 {
		c.Secret = "whsec_" + base64.StdEncoding.EncodeToString(secret)
	}
	return c, nil
}

// subscribed is what a webhook is told first, and has to answer.
const subscribed watch.Turn = "subscribed"

func feedPath(id string) string { return "/api/v1/alerts/" + id + "/feed.atom" }

// room refuses one subscription too many.
func (s *Service) room(ctx context.Context, tx *sql.Tx, instance, url, host string) error {
	for _, l := range []struct {
		query string
		arg   string
		most  int
		says  string
	}{
		{"SELECT count(*) FROM alert_subscriptions WHERE instance = $1", instance, maxOfInstance, "This instance has %d subscriptions: end one first."},
		{"SELECT count(*) FROM alert_subscriptions WHERE url = $1", url, maxOfURL, "This webhook has %d subscriptions: end one first."},
		{"SELECT count(*) FROM alert_subscriptions WHERE host = $1", host, maxOfHost, "The webhook's host has %d subscriptions, which is the most here."},
		{"SELECT count(*) FROM alert_subscriptions WHERE id <> $1", PublicID, s.cfg.Most, "There are %d subscriptions, which is the most here: ask who runs this service."},
	} {
		if l.arg == "" {
			continue
		}
		var n int
		if err := tx.QueryRowContext(ctx, l.query, l.arg).Scan(&n); err != nil {
			return err
		}
		if n >= l.most {
			return &fault{http.StatusConflict, "there is no room for this", fmt.Sprintf(l.says, n)}
		}
	}
	return nil
}

// checkURL refuses what can be no webhook, and answers its host. What the host
// resolves to is checked when it is connected to.
func checkURL(raw string, private bool) (host string, err error) {
	if len(raw) > maxURL {
		return "", fmt.Errorf("the webhook's URL has more than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" || !watch.Printable(raw, maxURL) {
		return "", errors.New("the webhook is no URL such as https://example.com/hook")
	}
	if u.Scheme != "https" && !(private && u.Scheme == "http") {
		return "", errors.New("the webhook's URL begins with https://")
	}
	if u.User != nil || u.Fragment != "" {
		return "", errors.New("the webhook's URL has neither a user nor a fragment")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return "", errors.New("the webhook's port is none")
		}
	}
	host = strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if private {
		return host, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if !reachable(a) {
			return "", errors.New("the webhook is not at a public address")
		}
		return host, nil
	}
	if _, top, ok := cutLast(host, "."); !ok || top == "local" || top == "localhost" || top == "internal" || top == "lan" || top == "arpa" || strings.Trim(top, "0123456789") == "" {
		return "", errors.New("the webhook's host has no public name")
	}
	return host, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// A subscription as it is kept.
type subscription struct {
	id, name, instance, url, host, state, why string
	token, secret                             []byte
	failing, heard, created                   time.Time
}

const selectSubscription = "SELECT id, token, name, instance, url, host, secret, state, why, failing, heard, created FROM alert_subscriptions "

func scanSubscription(scan func(...any) error) (s subscription, err error) {
	var failing, heard, created int64
	err = scan(&s.id, &s.token, &s.name, &s.instance, &s.url, &s.host, &s.secret, &s.state, &s.why, &failing, &heard, &created)
	s.failing, s.heard, s.created = control.Time(failing), control.Time(heard), control.Time(created)
	return s, err
}

func one(ctx context.Context, tx *sql.Tx, id string) (subscription, error) {
	sub, err := scanSubscription(tx.QueryRowContext(ctx, selectSubscription+"WHERE id = $1", id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return sub, errUnknown
	}
	return sub, err
}

// Subscription is what whoever has its id may see.
func (s *Service) Subscription(ctx context.Context, id string) (watch.Subscription, error) {
	var out watch.Subscription
	err := s.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		sub, err := one(ctx, tx, id)
		if err != nil {
			return err
		}
		out, err = view(ctx, tx, sub, maxEvents)
		return err
	})
	return out, err
}

// OfInstance are an instance's subscriptions, the oldest first.
func (s *Service) OfInstance(ctx context.Context, id wire.InstanceID) ([]watch.Subscription, error) {
	var out []watch.Subscription
	err := s.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		out = nil
		var subs []subscription
		err := control.EachRow(ctx, tx, func(rows *sql.Rows) error {
			sub, err := scanSubscription(rows.Scan)
			subs = append(subs, sub)
			return err
		}, selectSubscription+"WHERE instance = $1 ORDER BY created", id.String())
		if err != nil {
			return err
		}
		for _, sub := range subs {
			v, err := view(ctx, tx, sub, 10)
			if err != nil {
				return err
			}
			out = append(out, v)
		}
		return nil
	})
	return out, err
}

func view(ctx context.Context, tx *sql.Tx, sub subscription, events int) (watch.Subscription, error) {
	v := watch.Subscription{
		ID: sub.id, Name: sub.name, Instance: sub.instance, Host: sub.host, State: sub.state, Why: sub.why, Created: sub.created,
		Watches: []watch.Watched{}, Events: []watch.Event{}, Feed: feedPath(sub.id),
	}
	err := control.EachRow(ctx, tx, func(rows *sql.Rows) error {
		var w watch.Watched
		var body, state, latest string
		var since int64
		if err := rows.Scan(&body, &w.Unit, &state, &since, &w.Side, &latest); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(body), &w.Watch); err != nil {
			return err
		}
		w.State, w.Since = watch.State(state), control.Time(since)
		if latest != "" {
			w.Latest = new(watch.Judgement)
			if err := json.Unmarshal([]byte(latest), w.Latest); err != nil {
				return err
			}
		}
		v.Watches = append(v.Watches, w)
		return nil
	}, "SELECT body, unit, state, since, side, latest FROM alert_watches WHERE subscription = $1 ORDER BY n", sub.id)
	if err != nil {
		return v, err
	}
	return v, control.EachRow(ctx, tx, func(rows *sql.Rows) error {
		var e watch.Event
		var body, delivery string
		if err := rows.Scan(&body, &delivery); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			return err
		}
		e.Delivery = delivery
		v.Events = append(v.Events, e)
		return nil
	}, "SELECT body, delivery FROM alert_events WHERE subscription = $1 ORDER BY time DESC LIMIT $2", sub.id, events)
}

// End deletes a subscription, for its token.
func (s *Service) End(ctx context.Context, id, token string) error {
	hash := sha256.Sum256([]byte(token))
	return s.end(ctx, id, func(sub subscription) bool {
		return subtle.ConstantTimeCompare(hash[:], sub.token) == 1
	})
}

// EndOf deletes a subscription of an instance, for whoever has its link.
func (s *Service) EndOf(ctx context.Context, instance wire.InstanceID, id string) error {
	return s.end(ctx, id, func(sub subscription) bool { return sub.instance == instance.String() })
}

func (s *Service) end(ctx context.Context, id string, may func(subscription) bool) error {
	return s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		sub, err := one(ctx, tx, id)
		if err != nil {
			return err
		}
		if !may(sub) {
			return errToken
		}
		return remove(ctx, tx, id)
	})
}

// Forget deletes all subscriptions of an instance.
func (s *Service) Forget(ctx context.Context, id wire.InstanceID) error {
	return s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		return removeWhere(ctx, tx, "instance = $1", id.String())
	})
}

func removeWhere(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	var ids []string
	err := control.EachRow(ctx, tx, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM alert_subscriptions WHERE "+where, args...)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := remove(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

func remove(ctx context.Context, tx *sql.Tx, id string) error {
	for _, from := range []string{"alert_deliveries WHERE subscription", "alert_events WHERE subscription", "alert_watches WHERE subscription", "alert_subscriptions WHERE id"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+from+" = $1", id); err != nil {
			return err
		}
	}
	return nil
}

// instanceOf is nil for a public subscription.
func (sub *subscription) instanceOf() (*wire.InstanceID, error) {
	if sub.instance == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(sub.instance)
	if err != nil || len(b) != len(wire.InstanceID{}) {
		return nil, fmt.Errorf("the subscription %s has the instance %.40q", sub.id, sub.instance)
	}
	id := wire.InstanceID(b)
	return &id, nil
}
