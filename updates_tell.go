package evergreen

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// tell logs an update that there is: one entry.
func (u *updates) tell(n updater.Notice) {
	level := zapcore.InfoLevel
	if !n.Installs && (n.Severity == wire.SeverityCritical || n.Severity == wire.SeverityImportant) {
		level = zapcore.WarnLevel
	}
	fields := []zap.Field{
		zap.String("from", n.From), zap.String("to", n.To), zap.String("severity", string(n.Severity)),
		zap.Strings("reasons", notNil(n.Reasons)), zap.Strings("advisories", notNil(n.Advisories)), zap.String("link", n.Link),
		zap.Strings("changes", changeWords(n.Changes)), zap.Bool("installs", n.Installs),
	}
	if n.Why != "" {
		fields = append(fields, zap.String("because", n.Why))
	}
	u.log.Log(level, "an update is available", fields...)
}

// changeWords are changes as in "github.com/caddyserver/caddy/v2 v2.11.3 → v2.11.9".
func changeWords(cs []wire.Change) []string {
	words := []string{}
	for _, c := range cs {
		words = append(words, c.Path+" "+c.From+" → "+c.To)
	}
	return words
}

// updateGauges show Prometheus which update there is. It is one collector for
// the registries of all configurations.
type updateGauges struct{ u *updates }

var (
	availableDesc = prometheus.NewDesc("caddy_evergreen_update_available",
		"1 for the severity of the update that there is for this Caddy, 0 for each other severity.", []string{"severity"}, nil)
	checkedDesc = prometheus.NewDesc("caddy_evergreen_update_last_check_timestamp_seconds",
		"When the update service last answered, in seconds since 1970; 0 if it has not.", nil, nil)
	stateDesc = prometheus.NewDesc("caddy_evergreen_update_state",
		"1 for the state of updates, 0 for each other state.", []string{"state"}, nil)
)

func (g *updateGauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- availableDesc
	ch <- checkedDesc
	ch <- stateDesc
}

func (g *updateGauges) Collect(ch chan<- prometheus.Metric) {
	s := g.u.updater.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	one := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	for _, severity := range wire.Severities {
		gauge(availableDesc, one(s.Notice != nil && s.Notice.Severity == severity), string(severity))
	}
	checked := 0.0
	if !s.LastCheck.IsZero() {
		checked = float64(s.LastCheck.Unix())
	}
	gauge(checkedDesc, checked)
	for _, state := range updater.States {
		gauge(stateDesc, one(s.State == state), string(state))
	}
}
