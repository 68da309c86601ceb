package watch

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Request asks for a subscription.
type Request struct {
	Name string `json:"name,omitempty"` // of the subscription, for people
	// URL is where to post what happens; "" is for who reads the feed.
	URL     string  `json:"url,omitempty"`
	Watches []Watch `json:"watches"`
	// Instance is whose numbers are watched; nil: everybody's, as they are public.
	Instance *wire.InstanceID `json:"-"`
}

// A Created is what is told once, to who subscribed.
type Created struct {
	ID    string `json:"id"`    // reads the subscription and its feed
	Token string `json:"token"` // ends it; not to be had again
	// Secret is the key of the webhook's signatures as Standard Webhooks writes
	// it, "whsec_" and base64; not to be had again.
	Secret string `json:"secret,omitempty"`
	Page   string `json:"page"` // paths below the service's URL
	Feed   string `json:"feed"`
}

// A Subscription is what whoever has its id may see.
type Subscription struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Instance string    `json:"instance,omitempty"`
	Host     string    `json:"host,omitempty"` // of the webhook; the rest of its URL is not shown
	State    string    `json:"state"`          // "pending" until the webhook answered, "active", "ended"
	Why      string    `json:"why,omitempty"`  // it is not active
	Created  time.Time `json:"created"`
	Watches  []Watched `json:"watches"`
	Events   []Event   `json:"events"` // newest first
	Feed     string    `json:"feed"`
}

// A Watched is a watch and where it is.
type Watched struct {
	Watch
	Standing
	Latest *Judgement `json:"latest,omitempty"`
	Unit   string     `json:"unit"`
}

// An Event is something that subscribers are told.
type Event struct {
	ID        string    `json:"id"`
	Type      Turn      `json:"type"` // "departed", "returned"
	Time      time.Time `json:"time"`
	Watch     Watch     `json:"watch"`
	Judgement Judgement `json:"judgement"`
	Unit      string    `json:"unit"`
	Text      string    `json:"text"` // one sentence for people
	Delivery  string    `json:"delivery,omitempty"`
}

// Show writes a value of a unit for people: 0.0123 of "share" as 1.23 %, 12300
// of "µs" as 12.3 ms.
func Show(v float64, unit string) string {
	scale := func(base float64, units ...string) string {
		i := 0
		for v >= 999.5 && i < len(units)-1 {
			v, i = v/base, i+1
		}
		return strings.TrimSpace(three(v) + " " + units[i])
	}
	switch unit {
	case "share":
		return three(100*v) + " %"
	case "µs":
		return scale(1000, "µs", "ms", "s")
	case "B":
		return scale(1000, "B", "kB", "MB", "GB", "TB")
	case "minutes":
		if v >= 120 {
			return three(v/60) + " hours"
		}
		return three(v) + " minutes"
	case "":
		if v < 10_000 {
			return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
		}
		return scale(1000, "", "k", "M", "G", "T", "P", "E")
	}
	return strings.TrimSpace(three(v) + " " + unit)
}

// three writes three digits.
func three(v float64) string {
	switch {
	case v >= 99.95 || v == 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 0.01:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}
