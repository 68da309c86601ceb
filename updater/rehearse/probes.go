package rehearse

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Rounds of asking: before a difference is believed, the candidate has failed to
// agree this often.
const (
	rounds   = 4
	workers  = 4
	patience = 500 * time.Millisecond // before it is asked again, and as much more each time
)

// A probe is a question for both.
type probe struct {
	question
	running, candidate endpoint
}

// A survey is what is asked, and what came of it.
type survey struct {
	c     *Config
	w     *Rewritten
	notes []string
	sites map[string]bool

	mu     sync.Mutex
	found  map[int][]Difference // by probe
	made   int                  // probes that were compared
	mute   map[string]bool      // endpoints of the running server, with a version, that don't answer
	missed int                  // probes for which there was no time
}

func (s *survey) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	if !slices.Contains(s.notes, n) {
		s.notes = append(s.notes, n)
	}
}

// plan makes the probes, those of all sites' "/" first. It asks the running
// server what its listeners speak.
func (s *survey) plan(ctx context.Context) []probe {
	apps := object(s.w.tree, "apps")
	servers := object(object(apps, "http"), "servers")
	var turns [1 + maxPaths][]probe
	for _, l := range s.w.listeners {
		if l.why != "" {
			s.note("the listener of server %q was not asked: %s", l.server, l.why)
			continue
		}
		srv := object(servers, l.server)
		otherwise := "localhost"
		if l.at.isTCP() && !l.at.anyHost() {
			otherwise = l.at.host
		}
		sites, left := sitesOf(srv, otherwise, s.expand())
		if left > 0 {
			s.note("%d hosts of server %q were left out", left, l.server)
		}
		encrypted := l.at.isUDP()
		if !encrypted {
			var ok bool
			if encrypted, ok = speaksTLS(ctx, l.running, sites[0].host); !ok {
				if !l.redirects || !refuses(ctx, l.candidate) {
					s.note("the running server doesn't answer at %s, so that it was not compared", l.running)
				}
				continue
			}
		}
		if l.redirects && !listens(s.c.PID, l.running) {
			continue // another program's
		}
		for _, site := range sites {
			if encrypted && onDemand(apps, site.host) && (s.c.Certified == nil || !s.c.Certified(site.host)) {
				s.note("%s was not asked for, as that would obtain a certificate", site.host)
				continue
			}
			s.sites[site.host] = true
			paths := site.paths
			if l.redirects {
				paths = paths[:1]
			}
			for i, path := range paths {
				for _, v := range versionsOf(l, encrypted) {
					turns[i] = append(turns[i], probe{question{encrypted, v, site.host, l.at.port, path, s.c.Mark}, l.running, l.candidate})
				}
			}
		}
	}
	all := slices.Concat(turns[:]...)
	if left := len(all) - s.c.MaxProbes; left > 0 {
		s.note("%d of %d requests were left out", left, len(all))
		all = all[:s.c.MaxProbes]
	}
	return all
}

func (s *survey) expand() func(string) (string, error) {
	if s.c.Expand != nil {
		return s.c.Expand
	}
	return expandEnv
}

// versionsOf are those that a listener may speak.
func versionsOf(l listener, encrypted bool) (vs []version) {
	has := func(p string) bool { return slices.Contains(l.protocols, p) }
	tcp := !l.at.isUDP()
	switch {
	case encrypted:
		if tcp && has("h1") {
			vs = append(vs, http1)
		}
		if tcp && has("h2") {
			vs = append(vs, http2)
		}
		if has("h3") && l.running.network != "unix" {
			vs = append(vs, http3v)
		}
	default:
		if has("h1") {
			vs = append(vs, http1)
		}
		if has("h2c") {
			vs = append(vs, h2c)
		}
	}
	return vs
}

// refuses reports whether nobody listens at an endpoint.
func refuses(ctx context.Context, e endpoint) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := e.dial(ctx)
	if err == nil {
		c.Close()
	}
	return err != nil
}

// ask asks all probes, a few at a time. It ends early when ended is closed.
func (s *survey) ask(ctx context.Context, probes []probe, ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(probes) {
					return
				}
				s.one(ctx, i, probes[i])
			}
		}()
	}
	wg.Wait()
	if s.missed > 0 {
		s.note("for %d of %d requests there was no time", s.missed, len(probes))
	}
}

// one asks both servers, the running one first and last.
func (s *survey) one(ctx context.Context, i int, p probe) {
	defer func() {
		if v := recover(); v != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.note("asking for %s was given up: %v (%.300s)", p, v, debug.Stack())
		}
	}()
	n := normal{original: s.w.original}
	mute := p.running.String() + " " + string(p.version)
	s.mu.Lock()
	skip := s.mute[mute]
	s.mu.Unlock()
	if skip {
		return
	}
	var running, candidate []answer
	add := func(to endpoint, answers *[]answer) bool {
		a := n.ask(ctx, to, p.question)
		if ctx.Err() != nil {
			s.mu.Lock()
			s.missed++
			s.mu.Unlock()
			return false
		}
		*answers = append(*answers, a)
		return true
	}
	if !add(p.running, &running) {
		return
	}
	if p.version == http3v && running[0].failure == failureTimeout {
		running = nil // a packet may be lost
		if !add(p.running, &running) {
			return
		}
	}
	if f := running[0].failure; p.version == http3v && f == failureTimeout || f == failureRefused {
		// Over UDP nobody refuses: there is no HTTP/3 here, and each further probe
		// would wait as long.
		s.mu.Lock()
		s.mute[mute] = true
		s.note("the running server doesn't answer at %s over %s", p.running, p.version)
		s.mu.Unlock()
		return
	}
	if !add(p.candidate, &candidate) || !add(p.running, &running) {
		return
	}
	ds := differences(p.String(), running, candidate)
	for round := 1; round < rounds && len(ds) > 0; round++ {
		// Caddy loads certificates after it says that it serves; and a machine may be
		// busy for a moment.
		select {
		case <-time.After(time.Duration(round) * patience):
		case <-ctx.Done():
			return
		}
		if !add(p.candidate, &candidate) || !add(p.running, &running) {
			return
		}
		ds = differences(p.String(), running, candidate)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	if len(ds) > 0 {
		s.found[i] = ds
	}
}

// differences are those found, in the order of the probes.
func (s *survey) differences() (ds []Difference) {
	for _, i := range slices.Sorted(maps.Keys(s.found)) {
		ds = append(ds, s.found[i]...)
	}
	return ds
}

// answering waits until the candidate accepts connections where it must, or
// the time is over: then the probes tell.
func (s *survey) answering(ctx context.Context, ended <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, s.c.StepTime)
	defer cancel()
	for _, l := range s.w.listeners {
		if l.redirects || l.at.isUDP() {
			continue
		}
		for refuses(ctx, l.candidate) {
			select {
			case <-ended:
				return
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}
