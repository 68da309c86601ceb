package boot

// Applies is what every start of Caddy does.
var Applies = applies

// DataDirOn is Caddy's data directory on a system.
var DataDirOn = dataDirOn
