package dashboard

import "github.com/caddy-evergreen/evergreen/server/watch"

// PublicWatches are what is watched for everybody, and offered to who subscribes.
func PublicWatches() []watch.Watch {
	return []watch.Watch{
		{Name: "Instances that report", Query: "metric=instances.active"},
		{Name: "Requests", Query: "metric=http.requests"},
		{Name: "Server errors (5xx)", Query: "metric=http.requests.method&where.status_class=5xx", Measure: watch.Share, Direction: watch.Above},
		{Name: "Time to first byte, p90", Query: "metric=http.first_byte&q=0.9", Measure: watch.Quantile, Direction: watch.Above},
		{Name: "Failed handshakes", Query: "metric=tls.failures", Direction: watch.Above},
		{Name: "User-Agent/TLS mismatches", Query: "metric=tls.interception&where.verdict=inconsistent", Measure: watch.Share, Direction: watch.Above},
		{Name: "Incidents", Query: "metric=attacks.incidents", Direction: watch.Above},
		{Name: "Upstream failures", Query: "metric=caddy.upstreams.failures", Direction: watch.Above},
		{Name: "Failed certificates", Query: "metric=certificates.failed", Direction: watch.Above},
		{Name: "Panics", Query: "metric=http.errors.panic", Direction: watch.Above},
	}
}

// OwnWatches are what an instance's operator is offered.
func OwnWatches() []watch.Watch {
	ws := []watch.Watch{{Name: "No reports", Measure: watch.Silence, Direction: watch.Above}}
	for _, w := range PublicWatches() {
		if w.Query != "metric=instances.active" {
			ws = append(ws, w)
		}
	}
	return ws
}
