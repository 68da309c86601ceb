package wire

// certificateMetrics are about certificates and HSTS.
var certificateMetrics = []*Metric{}
