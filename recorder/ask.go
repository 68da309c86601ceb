package recorder

import "github.com/caddy-evergreen/evergreen/wire"

// Family is the family, of wire.ClientFamily, of the client that a User-Agent names.
func (r *Recorder) Family(userAgent string) wire.Value { return r.clients.Classify(userAgent).Family() }

// Counts reports whether a metric is recorded: known, and not off.
func (r *Recorder) Counts(id wire.MetricID) bool {
	m := r.metric(id)
	return m != nil && !r.isOff(m)
}
