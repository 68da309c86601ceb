package evergreen

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Warnings and errors are counted by one more log beside the user's, which
// writes nothing. Caddy gives a module's logger the cores of all logs of the
// configuration, so that the user's entries, levels, filters and samples stay
// what they are.
//
// A log's core can only be made by Caddy, when it opens a configuration's logs.
// That is done once, for a configuration that has nothing but our log and is
// never started, before Caddy's own is loaded; then the log is put among each
// configuration's when our app is provisioned. What Caddy logs by caddy.Log,
// outside of modules, is not seen: that logger can't be replaced without
// a data race.

// counted is the process's.
var counted errorLog

func init() { counted.make() }

// errorLog is our log.
type errorLog struct {
	log    *caddy.CustomLog
	err    error // why there is none
	making bool
	rec    atomic.Pointer[recorder.Recorder] // nil: nothing is counted
}

// errorLogName is among the names that the user gives to logs.
const errorLogName = "evergreen.errors"

func (l *errorLog) make() {
	caddy.RegisterModule(logCore{})
	l.making = true
	defer func() { l.making = false }()
	l.err = guard("make a log", func() error {
		// This makes Caddy's default logger anew, as it was. What it makes of other
		// packages' defaults is undone.
		storage, out, flags, prefix := certmagic.Default.Storage, log.Writer(), log.Flags(), log.Prefix()
		defer func() {
			certmagic.Default.Storage = storage
			log.SetOutput(out)
			log.SetFlags(flags)
			log.SetPrefix(prefix)
		}()
		l.log = &caddy.CustomLog{BaseLog: caddy.BaseLog{
			WriterRaw: json.RawMessage(`{"output":"discard"}`), CoreRaw: json.RawMessage(`{"module":"evergreen"}`),
		}}
		_, err := caddy.ProvisionContext(&caddy.Config{Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{errorLogName: l.log}}})
		return err
	})
}

// attach puts our log among those of the configuration that is being
// provisioned, for the modules that are loaded from now on. The map is replaced,
// not written to: another module may read it at the time.
func (l *errorLog) attach(ctx caddy.Context, rec *recorder.Recorder) error {
	if l.err != nil {
		return l.err
	}
	cfg, err := config(ctx)
	if err != nil {
		return err
	}
	v := cfg.FieldByName("Logging")
	if !v.IsValid() || v.Type() != reflect.TypeFor[*caddy.Logging]() || v.IsNil() {
		return errors.New("this Caddy keeps its logs elsewhere")
	}
	logging := (*caddy.Logging)(v.UnsafePointer())
	logs := maps.Clone(logging.Logs)
	if logs == nil {
		return errors.New("this Caddy has no default log")
	}
	if _, taken := logs[errorLogName]; taken {
		return fmt.Errorf("the configuration has a log of the name %s; give it another one", errorLogName)
	}
	logs[errorLogName] = l.log
	logging.Logs = logs
	l.rec.Store(rec)
	return nil
}

// logCore counts entries. One that a user's log names counts nothing.
type logCore struct{ to *errorLog }

// CaddyModule returns the Caddy module information.
func (logCore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.cores.evergreen", New: func() caddy.Module { return newLogCore() }}
}

func newLogCore() *logCore {
	if counted.making {
		return &logCore{&counted}
	}
	return &logCore{}
}

// Enabled takes warnings and what is worse.
func (c *logCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel && c.to != nil }

// With needs no fields but an entry's own.
func (c *logCore) With([]zapcore.Field) zapcore.Core { return c }

// Check leaves out access logs, which have answers of 5xx as errors.
func (c *logCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !strings.HasPrefix(e.LoggerName, "http.log.access") && c.to.rec.Load() != nil {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write counts an entry. It never fails.
func (c *logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	defer func() { _ = recover() }()
	if rec := c.to.rec.Load(); rec != nil {
		countEntry(rec, e, fields)
	}
	return nil
}

// Sync has nothing to do.
func (c *logCore) Sync() error { return nil }

var (
	levelWarn  = wire.LogLevel.Value("warn")
	levelError = wire.LogLevel.Value("error")
	levelPanic = wire.LogLevel.Value("panic")
	levelFatal = wire.LogLevel.Value("fatal")

	useLog      = wire.DescriptorUse.Value("log")
	useAccept   = wire.DescriptorUse.Value("accept")
	useHandler  = wire.DescriptorUse.Value("handler")
	useUpstream = wire.DescriptorUse.Value("upstream")
)

func countEntry(rec *recorder.Recorder, e zapcore.Entry, fields []zapcore.Field) {
	logger, level := loggerOf(e.LoggerName), levelOf(e.Level)
	rec.Add(wire.CaddyLogEntries, wire.Dims{logger, level}, 1)
	panicked, err := errorIn(fields)
	kind := kindOf(err)
	if panicked {
		kind = kindPanic
	}
	if level != levelWarn {
		rec.Add(wire.CaddyLogErrors, wire.Dims{logger, kind}, 1)
	}
	if err != nil && ofFileSystem(err) && (below(e.LoggerName, "tls") || below(e.LoggerName, "pki")) {
		rec.Add(wire.CaddyStorageErrors, wire.Dims{kind}, 1)
	}
	countStorageFailure(rec, e, err)
	// Those of requests are counted where the request is.
	if kind == kindDescriptors && !below(e.LoggerName, "http.log.error") {
		rec.Add(wire.CaddyNoDescriptors, wire.Dims{useLog}, 1)
	}
}

func levelOf(l zapcore.Level) wire.Value {
	switch {
	case l <= zapcore.WarnLevel:
		return levelWarn
	case l == zapcore.ErrorLevel:
		return levelError
	case l < zapcore.FatalLevel:
		return levelPanic
	}
	return levelFatal
}

// loggerOf finds the longest known name that name is, or lies below: the rest
// can be the user's own words.
func loggerOf(name string) wire.Value {
	for name != "" {
		if v := wire.Logger.Value(name); v != wire.Other {
			return v
		}
		name = name[:max(strings.LastIndexByte(name, '.'), 0)]
	}
	return wire.Other
}

func below(name, parent string) bool {
	rest, ok := strings.CutPrefix(name, parent)
	return ok && (rest == "" || rest[0] == '.')
}

// errorIn finds the error that an entry holds, and whether it tells of a panic:
// Caddy then adds the stack.
func errorIn(fields []zapcore.Field) (panicked bool, err error) {
	for i := range fields {
		f := &fields[i]
		switch {
		case f.Key == "stack":
			panicked = true
		case f.Type == zapcore.ErrorType && err == nil:
			err, _ = f.Interface.(error)
		}
	}
	return panicked, err
}
