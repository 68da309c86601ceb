package evergreen

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/reporter"
	"github.com/caddy-evergreen/evergreen/wire"
)

type instance interface {
	Status() Status
	NextReport() *wire.Report
	History() []reporter.Send
	Link(ttl time.Duration) (string, time.Time, error)
	ResetIdentity() error
	Forget(ctx context.Context) error
}

// Status is what `caddy evergreen status` shows.
type Status struct {
	Version   string          `json:"version"`
	Telemetry string          `json:"telemetry"`
	Reason    string          `json:"reason,omitempty"`
	Fallbacks []string        `json:"fallbacks,omitempty"`
	Window    time.Duration   `json:"window"`
	Reporter  reporter.Status `json:"reporter"`
}

func routes() []caddy.AdminRoute { return nil }

// Status reports how the process is doing.
func (p *process) Status() Status {
	return Status{Telemetry: "on", Fallbacks: p.missing(), Window: p.timing.Window, Reporter: p.reporter().Status()}
}
