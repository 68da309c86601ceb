package alerts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// PathAlerts is where the API is, below the service's URL.
const PathAlerts = "/api/v1/alerts"

// A Wish is the body of POST /api/v1/alerts.
type Wish struct {
	watch.Request
	// Link is an instance's, as `caddy evergreen link` prints it, with or
	// without the server before its path: then that instance is watched.
	Link string `json:"link,omitempty"`
}

const maxBody = 16 << 10

// Register adds the API's paths to mux:
//
//	GET    /api/v1/alerts                  what everybody may see, without an id
//	POST   /api/v1/alerts                  a Wish: subscribe; 201 and a watch.Created
//	GET    /api/v1/alerts/{id}             a watch.Subscription
//	GET    /api/v1/alerts/{id}/feed.atom   its events
//	DELETE /api/v1/alerts/{id}             end it: Authorization: Bearer TOKEN
func (s *Service) Register(mux *http.ServeMux) {
	handle := func(pattern string, f func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "private, no-store")
			h.Set("X-Robots-Tag", "noindex, nofollow")
			h.Set("Referrer-Policy", "no-referrer")
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if err := f(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	handle("GET "+PathAlerts, func(w http.ResponseWriter, r *http.Request) error { return s.show(w, r, PublicID) })
	handle("POST "+PathAlerts, s.create)
	handle("GET "+PathAlerts+"/{id}", func(w http.ResponseWriter, r *http.Request) error { return s.show(w, r, r.PathValue("id")) })
	handle("GET "+PathAlerts+"/{id}/feed.atom", s.feed)
	handle("DELETE "+PathAlerts+"/{id}", func(w http.ResponseWriter, r *http.Request) error {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if err := s.End(r.Context(), r.PathValue("id"), token); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

func (s *Service) show(w http.ResponseWriter, r *http.Request, id string) error {
	sub, err := s.Subscription(r.Context(), id)
	if err != nil {
		return err
	}
	if id == PublicID {
		w.Header().Set("Cache-Control", "public, max-age=30")
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}
	answer.JSON(w, wire.TypeJSON, http.StatusOK, sub)
	return nil
}

func (s *Service) create(w http.ResponseWriter, r *http.Request) error {
	if err := s.Allow(r); err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return &fault{http.StatusRequestEntityTooLarge, "this is too large", fmt.Sprintf("A subscription has at most %d bytes.", maxBody)}
	}
	wish, err := ParseWish(body, s.cfg.Now())
	if err != nil {
		return err
	}
	c, err := s.Subscribe(r.Context(), wish.Request)
	if err != nil {
		return err
	}
	w.Header().Set("Location", PathAlerts+"/"+c.ID)
	answer.JSON(w, wire.TypeJSON, http.StatusCreated, c)
	return nil
}

// A limited is the error of who subscribes too often.
type limited struct {
	fault
	wait time.Duration
}

// Allow takes one new subscription from the share of a request's sender, or refuses.
func (s *Service) Allow(r *http.Request) error {
	wait := s.cfg.Limit(r)
	if wait <= 0 {
		return nil
	}
	return &limited{fault{http.StatusTooManyRequests, "too many subscriptions from this address", "Try again in " + wait.Round(time.Second).String() + "."}, wait}
}

// ParseWish reads a Wish strictly, and finds its instance by its link.
func ParseWish(body []byte, now time.Time) (Wish, error) {
	var wish Wish
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&wish); err != nil {
		return wish, invalid("The body is no subscription: %v.", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return wish, invalid("There is something after the subscription's end.")
	}
	if wish.Link == "" {
		return wish, nil
	}
	id, err := ParseLink(wish.Link, now)
	if err != nil {
		return wish, err
	}
	wish.Instance = &id
	return wish, nil
}

// ParseLink is the instance of a link that its key has signed.
func ParseLink(link string, now time.Time) (wire.InstanceID, error) {
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil || len(link) > 2000 {
		return wire.InstanceID{}, invalid("The link is none: `caddy evergreen link` makes one.")
	}
	id, err := wire.ParseInstanceID(strings.TrimPrefix(u.Path, wire.PathInstance))
	if err == nil {
		err = wire.VerifyLink(id, u.Query(), now)
	}
	if errors.Is(err, wire.ErrExpired) {
		return id, &fault{http.StatusGone, "this link has expired", "Run `caddy evergreen link` on the server to make a new one."}
	}
	if err != nil {
		return id, &fault{http.StatusForbidden, "this link is not valid", "It takes the complete link that `caddy evergreen link` prints on the server itself."}
	}
	return id, nil
}

// fail is the one place where errors become responses. Causes that are not
// the asker's stay in the log.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	var told interface{ Problem() wire.Problem }
	if l := (*limited)(nil); errors.As(err, &l) {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(l.wait.Seconds()))))
	}
	if !errors.As(err, &told) {
		if r.Context().Err() != nil {
			return // nobody is listening
		}
		s.cfg.Logger.Error("answering a request about alerts", "error", err)
		told = &fault{http.StatusServiceUnavailable, "something went wrong here", "The cause is in the server's log. Try again in a minute."}
		w.Header().Set("Retry-After", "60")
	}
	answer.Problem(w, told.Problem())
}
