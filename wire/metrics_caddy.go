package wire

// caddyMetrics are about what goes wrong inside Caddy.
var caddyMetrics = []*Metric{}
