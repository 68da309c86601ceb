package evergreen

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/inventory"
	"github.com/caddy-evergreen/evergreen/reporter"
	"github.com/caddy-evergreen/evergreen/wire"
)

// currentInstance is what the admin API shows; none if the app is not running.
func currentInstance() (instance, bool) {
	if p := currentProcess(); p != nil && p.reporter() != nil && p.current().set.Off == "" {
		return p, true
	}
	var o *offInstance
	processes.Range(func(_, v any) bool { o, _ = v.(*offInstance); return o == nil })
	if o != nil {
		return o, true
	}
	return nil, false
}

// Status reports how the process is doing.
func (p *process) Status() Status {
	s := p.current().set
	return Status{
		Version: inventory.Version(), Telemetry: "on",
		Fallbacks: p.missing(), MetricsOff: s.MetricsOff, Label: s.Label,
		Window: p.timing.Window, Reporter: p.reporter().Status(),
	}
}

// current is the app whose settings hold; an empty one if none has started.
func (p *process) current() *App {
	if a := p.newest.Load(); a != nil {
		return a
	}
	return new(App)
}

// missing lists the fallbacks in force.
func (p *process) missing() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, m := range p.fallbacks {
		all = append(all, m)
	}
	sort.Strings(all)
	return slices.Compact(all)
}

// NextReport is exactly what the next report holds.
func (p *process) NextReport() *wire.Report { return p.reporter().Next() }

// History lists the latest sends.
func (p *process) History() []reporter.Send { return p.reporter().History() }

// Link makes a signed link to the instance's own page.
func (p *process) Link(ttl time.Duration) (string, time.Time, error) { return p.reporter().Link(ttl) }

// ResetIdentity makes a new instance id.
func (p *process) ResetIdentity() error { return p.reporter().ResetIdentity() }

// Forget has the service delete what this instance sent.
func (p *process) Forget(ctx context.Context) error { return p.reporter().Forget(ctx) }

// offInstance is what there is to show while telemetry is off.
type offInstance struct{ reason atomic.Pointer[string] }

type offKey struct{}

var errOff = errors.New("telemetry is off")

// switchedOff notes, for as long as the app is running, why telemetry is off.
func switchedOff(reason string) {
	v, _ := processes.LoadOrStore(offKey{}, new(offInstance))
	v.(*offInstance).reason.Store(&reason)
}

func (*offInstance) Destruct() error { return nil }

func (o *offInstance) Status() Status {
	s := Status{Version: inventory.Version(), Telemetry: "off"}
	if r := o.reason.Load(); r != nil {
		s.Reason = *r
	}
	return s
}

func (*offInstance) NextReport() *wire.Report { return nil }
func (*offInstance) History() []reporter.Send { return nil }
func (*offInstance) Link(time.Duration) (string, time.Time, error) {
	return "", time.Time{}, errOff
}
func (*offInstance) ResetIdentity() error         { return errOff }
func (*offInstance) Forget(context.Context) error { return errOff }

var (
	_ instance         = (*process)(nil)
	_ instance         = (*offInstance)(nil)
	_ caddy.Destructor = (*process)(nil)
	_ caddy.Destructor = (*offInstance)(nil)
)
