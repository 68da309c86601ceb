package reporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// maxHistory is how many attempts History remembers.
const maxHistory = 100

// A Send is one attempt to deliver a report.
type Send struct {
	Time          time.Time `json:"time"`
	Number        uint64    `json:"number"`
	Bytes         int       `json:"bytes"`
	Status        int       `json:"status"`         // of HTTP; 0: there was no answer
	StoredThrough uint64    `json:"stored_through"` // as the server answered
	Error         string    `json:"error,omitempty"`
}

// History lists the last attempts of this process, the newest first.
func (r *Reporter) History() []Send {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := slices.Clone(r.history)
	slices.Reverse(h)
	return h
}

// The values of Status.State.
const (
	StateNoEndpoint = "no endpoint"            // nothing is sent or written
	StateFirst      = "waiting for first send" // until the notice has had its time
	StateWaiting    = "waiting"                // for the next slot
	StateSending    = "sending"
	StateRetrying   = "retrying" // the last attempt failed
	StateElsewhere  = "another process sends"
	StateStopped    = "stopped by server"
)

// Status is how the reporter is doing.
type Status struct {
	Instance       string        `json:"instance"` // empty if there is no identity yet
	Endpoint       string        `json:"endpoint"`
	State          string        `json:"state"`
	NextSend       time.Time     `json:"next_send,omitzero"`
	FirstSend      time.Time     `json:"first_send,omitzero"` // nothing is sent before
	NextNumber     uint64        `json:"next_number"`         // of the next report to be sent
	StoredThrough  uint64        `json:"stored_through"`
	SpoolReports   int           `json:"spool_reports"`
	SpoolBytes     int64         `json:"spool_bytes"`
	DroppedReports uint64        `json:"dropped_reports"` // since the process started
	DroppedWindows uint64        `json:"dropped_windows"` // since the process started
	ReportEvery    time.Duration `json:"report_every"`
	LastError      string        `json:"last_error,omitempty"` // empty once a report was accepted
	MemoryOnly     bool          `json:"memory_only"`
}

// Status never waits for the disk or the network.
func (r *Reporter) Status() Status {
	now := r.c.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		Endpoint:       r.endpoint,
		State:          r.state(now),
		NextNumber:     1,
		DroppedReports: r.droppedReports,
		DroppedWindows: r.droppedWindows,
		ReportEvery:    r.every,
		LastError:      r.lastError,
		MemoryOnly:     r.memoryOnly,
	}
	if r.spool != nil {
		st := r.spool.stats()
		if st.instance != (wire.InstanceID{}) {
			s.Instance, s.NextNumber = st.instance.String(), st.next
		}
		s.StoredThrough, s.SpoolReports, s.SpoolBytes = st.storedThrough, st.reports, st.bytes
	}
	if r.endpoint != "" && !r.stopped {
		s.NextSend = r.nextSend
		if !r.noticed.IsZero() {
			s.FirstSend = r.noticed.Add(r.c.Timing.Notice)
		}
	}
	return s
}

func (r *Reporter) state(now time.Time) string {
	switch {
	case r.endpoint == "":
		return StateNoEndpoint
	case r.stopped:
		return StateStopped
	case r.busy:
		return StateSending
	case r.elsewhere:
		return StateElsewhere
	case r.failures > 0:
		return StateRetrying
	case r.noticed.IsZero() || now.Before(r.noticed.Add(r.c.Timing.Notice)):
		return StateFirst
	default:
		return StateWaiting
	}
}

// Next is what the next report to be sent holds: a sealed one as it is, or else
// what the open one would hold if it were sent now.
func (r *Reporter) Next() *wire.Report {
	now := r.c.Now()
	r.mu.Lock()
	s, pending := r.spool, r.pending
	if r.endpoint == "" {
		s = nil
	}
	r.mu.Unlock()
	rep := &wire.Report{Number: 1}
	if s != nil {
		stored, open, err := s.peek()
		switch {
		case err != nil:
			rep.Number = max(1, s.stats().next)
		case !open:
			return stored
		default:
			rep = stored
		}
	}
	rep.Dictionary = wire.DictionaryVersion
	rep.Created = now.Unix()
	rep.Facts = r.facts()
	rep.Windows = append(rep.Windows, pending...)
	if w := r.c.Windows.Peek(now); w != nil {
		rep.Windows = append(rep.Windows, w)
	}
	rep.Windows = rep.Windows[:min(len(rep.Windows), wire.MaxWindows)]
	return rep
}

// errNoEndpoint tells how to get one.
var errNoEndpoint = errors.New("no endpoint is set, so there is no service to ask: set `endpoint` in the global option `evergreen`, or EVERGREEN_ENDPOINT")

// defaultLink is how long a link is good unless asked otherwise.
const defaultLink = 24 * time.Hour

// Link makes a link to the instance's own page, good for ttl (0: a day).
func (r *Reporter) Link(ttl time.Duration) (url string, expires time.Time, err error) {
	if ttl == 0 {
		ttl = defaultLink
	}
	// A minute less than the limit, for a server whose clock is behind.
	if longest := wire.MaxLinkAge - time.Minute; ttl < time.Second || ttl > longest {
		return "", time.Time{}, fmt.Errorf("a link can't be good for %s: ask for one second to %s", ttl, longest)
	}
	endpoint := r.currentEndpoint()
	if endpoint == "" {
		return "", time.Time{}, errNoEndpoint
	}
	s, err := r.open()
	if err != nil {
		return "", time.Time{}, err
	}
	key, err := s.signer()
	if err != nil {
		return "", time.Time{}, err
	}
	expires = r.c.Now().Add(ttl).Truncate(time.Second)
	return strings.TrimRight(endpoint, "/") + wire.Link(key, expires), expires, nil
}

// ResetIdentity gives the instance a new key and thereby a new id, numbers its
// reports from 1, and drops what was not sent under the old one. Nothing links
// the two. The former reports stay where they are stored; Forget deletes them.
func (r *Reporter) ResetIdentity() error {
	r.sending <- struct{}{}
	defer func() { <-r.sending }()
	return r.reset()
}

func (r *Reporter) reset() error {
	r.mu.Lock()
	s := r.spool
	off := r.endpoint == "" && s == nil
	r.mu.Unlock()
	if off {
		if _, err := r.folder.read(keyFile); errors.Is(err, fs.ErrNotExist) {
			return nil // there is none, and without an endpoint none is made
		}
		s = r.newSpool(&r.folder, maxDiskBytes)
	} else {
		var err error
		if s, err = r.open(); err != nil {
			return err
		}
	}
	if err := s.reset(); err != nil {
		return fmt.Errorf("resetting the identity: %w", err)
	}
	r.mu.Lock()
	r.failures, r.waiting, r.nextSend, r.lastError = 0, false, time.Time{}, ""
	r.history = nil
	r.mu.Unlock()
	r.replan()
	return nil
}

// Forget asks the server to delete the instance's reports and page, and then
// resets the identity, so that what comes later is of an instance that the
// server has not seen.
func (r *Reporter) Forget(ctx context.Context) error {
	select {
	case r.sending <- struct{}{}:
		defer func() { <-r.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	endpoint := r.currentEndpoint()
	if endpoint == "" {
		return errNoEndpoint
	}
	s, err := r.open()
	if err != nil {
		return err
	}
	key, err := s.signer()
	if err != nil {
		return err
	}
	body, err := json.Marshal(wire.Forget{Instance: idOf(key).String(), Time: r.c.Now().Unix()})
	if err != nil {
		return err
	}
	a, err := r.post(ctx, endpoint, message{
		path:      wire.PathForget,
		mediaType: wire.TypeJSON,
		purpose:   wire.PurposeForget,
		key:       key,
		body:      body,
		version:   r.facts().GetEvergreenVersion(),
	})
	if err != nil {
		return fmt.Errorf("asking the server to forget this instance, which nothing has changed for yet: try again later: %w", err)
	}
	if a.status < 200 || a.status > 299 {
		return fmt.Errorf("asking the server to forget this instance, which nothing has changed for yet: %w", a.problem())
	}
	return r.reset()
}
