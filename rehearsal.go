package evergreen

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/boot"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/updater/rehearse"
)

// rehearsalDir is the folder in which a candidate may write, below the updates'.
const rehearsalDir = "rehearsal"

// rehearse runs the candidate beside this server. The report is what differs.
func (u *updates) rehearse(ctx context.Context, c updater.Candidate) (string, error) {
	live, err := liveConfig(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the running configuration: %w", err)
	}
	r, err := rehearseCandidate(ctx, rehearse.Config{
		Executable: c.Path, Version: c.Version, Modules: caddy.Modules(), Live: live,
		Scratch: filepath.Join(u.dir, rehearsalDir), Env: []string{boot.Env(c.Slot, boot.Current().Installed)},
	})
	fields := []zap.Field{
		zap.String("to", c.Version), zap.Int("sites", r.Sites), zap.Int("requests", r.Probes), zap.Int("differences", len(r.Differences)),
		zap.Uint64("memory", r.Peak), zap.Duration("took", r.Took), zap.Strings("notes", r.Notes),
	}
	if err == nil {
		u.log.Info("rehearsed an update beside the running server", fields...)
	}
	return r.String(), err
}

// rehearseCandidate rehearses a candidate beside this process. The error is an
// *updater.Error if the candidate failed; any other says nothing about it.
func rehearseCandidate(ctx context.Context, c rehearse.Config) (r rehearse.Report, err error) {
	c.Mark = rand.Text()
	if p := currentProcess(); p != nil {
		p.rehearsal.Store(&c.Mark)
		defer p.rehearsal.Store(nil)
	}
	c.DataDir = caddy.AppDataDir()
	c.OwnApp, c.Expand, c.Certified = caddysOwn, expandPlaceholders, certified
	err = guard("rehearse", func() error {
		r, err = rehearse.Run(ctx, c)
		return err
	})
	var failed *rehearse.Error
	if errors.As(err, &failed) {
		err = &updater.Error{Cause: rehearsalCause(failed.Kind), Lasting: true, Err: err}
	}
	return r, err
}

func rehearsalCause(k rehearse.Kind) updater.Cause {
	switch k {
	case rehearse.Execute:
		return updater.CauseExecute
	case rehearse.Modules:
		return updater.CauseModules
	case rehearse.Tell, rehearse.Start:
		return updater.CauseStart
	}
	return updater.CauseRehearsal
}

// caddysOwn tells whether an app is in Caddy itself, or is ours.
func caddysOwn(app string) bool {
	m, err := caddy.GetModule(app)
	if err != nil {
		return false
	}
	t := reflect.TypeOf(m.New())
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t != nil && (strings.HasPrefix(t.PkgPath(), "github.com/caddyserver/caddy/v2") || t.PkgPath() == reflect.TypeFor[App]().PkgPath())
}

func expandPlaceholders(s string) (string, error) {
	return caddy.NewReplacer().ReplaceOrErr(s, true, true)
}

// certified tells whether there is a certificate for a host in Caddy's cache.
func certified(host string) (yes bool) {
	defer func() { _ = recover() }() // there may be no cache
	return len(caddytls.AllMatchingCertificates(host)) > 0
}

// A rehearsalMark is the value by which requests of a rehearsal are known; nil
// while there is none.
type rehearsalMark struct{ atomic.Pointer[string] }

// of reports whether a request is of a rehearsal, and so no visitor's.
func (m *rehearsalMark) of(r *http.Request) bool {
	mark := m.Load()
	return mark != nil && r.Header.Get(rehearse.MarkHeader) == *mark
}
