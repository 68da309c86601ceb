package wire

// attackMetrics are about abnormal clients and incidents.
var attackMetrics = []*Metric{}
