// Package reporter sends what the recorder counted.
package reporter

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
	"go.uber.org/zap"
)

// Windows is what the reporter asks of the recorder.
type Windows interface {
	Close(now time.Time) []*wire.Window
	ClosePartial(now time.Time) *wire.Window
	Peek(now time.Time) *wire.Window
	Add(m wire.MetricID, d wire.Dims, n uint64)
}

// Config is what a Reporter needs.
type Config struct {
	Endpoint  string
	Dir       string
	Facts     func() *wire.Facts
	Windows   Windows
	Timing    wire.Timing
	Log       *zap.Logger
	Transport http.RoundTripper
	Now       func() time.Time
	Rand      func() float64
}

// A Send is one attempt to deliver a report.
type Send struct {
	Time          time.Time `json:"time"`
	Number        uint64    `json:"number"`
	Bytes         int       `json:"bytes"`
	Status        int       `json:"status"`
	StoredThrough uint64    `json:"stored_through"`
	Error         string    `json:"error,omitempty"`
}

// Status is how the reporter is doing.
type Status struct {
	Instance       string        `json:"instance"`
	Endpoint       string        `json:"endpoint"`
	State          string        `json:"state"`
	NextSend       time.Time     `json:"next_send,omitzero"`
	FirstSend      time.Time     `json:"first_send,omitzero"`
	NextNumber     uint64        `json:"next_number"`
	StoredThrough  uint64        `json:"stored_through"`
	SpoolReports   int           `json:"spool_reports"`
	SpoolBytes     int64         `json:"spool_bytes"`
	DroppedReports uint64        `json:"dropped_reports"`
	DroppedWindows uint64        `json:"dropped_windows"`
	ReportEvery    time.Duration `json:"report_every"`
	LastError      string        `json:"last_error,omitempty"`
	MemoryOnly     bool          `json:"memory_only"`
}

// A Reporter sends closed windows.
type Reporter struct{ c Config }

func CheckEndpoint(endpoint string) error { return nil }

func New(c Config) (*Reporter, error) { return &Reporter{c: c}, nil }

func (r *Reporter) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (r *Reporter) SetEndpoint(endpoint string) {}

func (r *Reporter) Next() *wire.Report { return &wire.Report{} }

func (r *Reporter) History() []Send { return nil }

func (r *Reporter) Status() Status { return Status{} }

func (r *Reporter) Link(ttl time.Duration) (url string, expires time.Time, err error) { return }

func (r *Reporter) ResetIdentity() error { return nil }

func (r *Reporter) Forget(ctx context.Context) error { return nil }
