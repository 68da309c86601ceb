package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/updater/rehearse/confine"
)

// starts are the tries to start, where another program took a port meanwhile.
const starts = 3

// ownApps are Caddy's.
var ownApps = []string{"http", "tls", "pki", "events", "caddy.filesystems", "evergreen", "evergreen_updates"}

func (c *Config) run(ctx context.Context) (r Report, err error) {
	if err := c.complete(); err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(c.Scratch) }()
	if err := c.prepare(); err != nil {
		return r, err
	}
	if err := c.tellVersion(ctx); err != nil {
		return r, err
	}
	if err := c.tellModules(ctx); err != nil {
		return r, err
	}
	w, err := c.rewrite(c.keep)
	if err != nil {
		return r, err
	}
	if _, err := c.tell(ctx, w.Validate, "validate", "--config", "-"); err != nil {
		var f *Error
		if errors.As(err, &f) && f.Kind == Tell {
			f.Kind = Refuse
		}
		return r, fmt.Errorf("the running configuration: %w", err)
	}
	r, err = c.beside(ctx, w)
	var f *Error
	if len(w.Left) == 0 || err == nil && r.Agrees() || err != nil && !errors.As(err, &f) || ctx.Err() != nil {
		if len(w.Left) > 0 {
			r.Notes = append(r.Notes, "apps of plugins were validated and not started: "+strings.Join(w.Left, ", "))
		}
		return r, err
	}
	// It may be that without those apps the servers can't work.
	if w, err = c.rewrite(nil); err != nil {
		return r, err
	}
	return c.beside(ctx, w)
}

// complete sets what the zero values stand for.
func (c *Config) complete() (err error) {
	if c.Executable, err = filepath.Abs(c.Executable); err != nil {
		return err
	}
	if c.Scratch == "" {
		return errors.New("a rehearsal needs a folder of its own")
	}
	if c.Scratch, err = filepath.Abs(c.Scratch); err != nil {
		return err
	}
	if c.Launcher == "" {
		if c.Launcher, err = runningExecutable(); err != nil {
			return fmt.Errorf("finding the running executable: %w", err)
		}
	}
	if c.PID == 0 {
		c.PID = os.Getpid()
	}
	own := resident(c.PID)
	if own == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		own = m.Sys
	}
	if c.Memory == 0 {
		c.Memory = max(minMemory, 2*own+128<<20)
	}
	if c.Private == 0 {
		c.Private = 2*c.Memory + 1<<30 // some is only set aside
	}
	if c.StepTime == 0 {
		c.StepTime = DefaultStepTime
	}
	if c.Settle == 0 {
		c.Settle = DefaultSettle
	}
	if c.MaxDisk == 0 {
		c.MaxDisk = DefaultMaxDisk
	}
	if c.MaxProbes == 0 {
		c.MaxProbes = DefaultMaxProbes
	}
	if free := freeMemory(); free > 0 && free < min(own, c.Memory)+spareBytes {
		return fmt.Errorf("too little memory is free to run a second Caddy beside this one: %d MB, and this one takes %d MB; free some, or update by hand", free>>20, own>>20)
	}
	return nil
}

// prepare makes the folders that the candidate may write to.
func (c *Config) prepare() error {
	if err := os.RemoveAll(c.Scratch); err != nil {
		return fmt.Errorf("emptying the rehearsal's folder: %w", err)
	}
	for _, d := range []string{"data", "config", "cache", "tmp", "s"} {
		if err := os.MkdirAll(filepath.Join(c.Scratch, d), 0o700); err != nil {
			return fmt.Errorf("making the rehearsal's folder: %w", err)
		}
	}
	return nil
}

func (c *Config) keep(app string) bool {
	if c.OwnApp != nil {
		return c.OwnApp(app)
	}
	return slices.Contains(ownApps, app)
}

func (c *Config) rewrite(keep func(string) bool) (*Rewritten, error) {
	r := Rewriting{DataDir: c.DataDir, Sockets: filepath.Join(c.Scratch, "s"), Keep: keep, Expand: c.Expand, Ports: freeport.Pick}
	for _, m := range c.Modules {
		if name, ok := strings.CutPrefix(m, "caddy.storage."); ok {
			r.Storage = append(r.Storage, name)
		}
	}
	return Rewrite(c.Live, r)
}

// beside starts the candidate and compares.
func (c *Config) beside(ctx context.Context, w *Rewritten) (r Report, err error) {
	if err := c.prepare(); err != nil { // what an earlier one left is gone
		return r, err
	}
	began := time.Now()
	p, res, err := c.up(ctx, &w)
	if err != nil {
		return r, err
	}
	defer func() {
		p.end()
		r.Peak = p.peak.Load()
	}()
	s := &survey{c: c, w: w, sites: map[string]bool{}, found: map[int][]Difference{}, mute: map[string]bool{}}
	for _, m := range res.Missing {
		s.note("not limited here: %s", m)
	}
	s.answering(ctx, p.done)
	probes := s.plan(ctx)
	s.ask(ctx, probes, p.done)
	settled := time.NewTimer(c.Settle - time.Since(began))
	defer settled.Stop()
	select {
	case <-p.done:
	case <-ctx.Done():
	case <-settled.C:
	}
	r = Report{Differences: s.differences(), Probes: s.made, Sites: len(s.sites), Notes: s.notes}
	if err := p.limit(); err != nil {
		return r, err
	}
	select {
	case <-p.done:
		return r, failed(Start, p.out.said(), "the candidate ended while it was asked for the sites (%v)", p.err)
	default:
	}
	if err := ctx.Err(); err != nil && r.Agrees() {
		return r, fmt.Errorf("rehearsing took too long: %w", err)
	}
	return r, nil
}

// up starts the candidate and waits until it says that it serves. Where a port
// was taken meanwhile, it tries others.
func (c *Config) up(ctx context.Context, w **Rewritten) (*process, confine.Result, error) {
	for try := 1; ; try++ {
		serves := make(chan struct{})
		var once sync.Once
		p, res, err := c.start((*w).Run, (*w).Ports, func(line []byte) {
			if servesNow(line) {
				once.Do(func() { close(serves) })
			}
		}, "run", "--config", "-")
		if err != nil {
			return nil, res, err
		}
		timer := time.NewTimer(c.StepTime)
		defer timer.Stop()
		select {
		case <-serves:
			return p, res, nil
		case <-p.done:
			if err := p.limit(); err != nil {
				return nil, res, err
			}
			if try < starts && strings.Contains(p.out.end(), "address already in use") {
				again, err := c.rewrite(keepOf(*w, c.keep))
				if err != nil {
					return nil, res, err
				}
				*w = again
				continue
			}
			return nil, res, failed(Start, p.out.said(), "the candidate ended when it was started with the running configuration (%v)", p.err)
		case <-ctx.Done():
			p.end()
			return nil, res, fmt.Errorf("rehearsing: %w", ctx.Err())
		case <-timer.C:
			p.end()
			return nil, res, failed(Start, p.out.said(), "the candidate did not serve within %v", c.StepTime)
		}
	}
}

// keepOf is the choice of apps that a rewriting was made with.
func keepOf(w *Rewritten, keep func(string) bool) func(string) bool {
	if len(w.Left) == 0 {
		return nil
	}
	return keep
}

// servesNow reports whether a line of the log is the one that `caddy run` ends
// its start with.
func servesNow(line []byte) bool {
	if !strings.Contains(string(line), "serving initial configuration") {
		return false
	}
	var entry struct {
		Msg string `json:"msg"`
	}
	return json.Unmarshal(line, &entry) == nil && entry.Msg == "serving initial configuration"
}
