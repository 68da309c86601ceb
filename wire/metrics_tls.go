package wire

// tlsMetrics are about what ClientHellos advertise, what is negotiated, why handshakes fail, interception.
var tlsMetrics = []*Metric{}
