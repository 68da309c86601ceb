// Package evergreen makes Caddy an evergreen web server: every instance reports
// what it sees of the Internet, without identifying anyone, and keeps itself up
// to date.
//
// Two flows, each arrow one package handing a named type to the next:
//
//	A  request → recorder → reporter → wire → collect → ingestlog → aggregate → store → dashboard
//	B  release → plan → rollout → build → artifact → updates → wire → updater → switch → watch
//
// The stages up to wire of flow A, and those after wire of flow B, are in this
// module and run inside Caddy; the others are in the nested module server.
// This package is the Caddy app `evergreen`, its configuration, its admin API
// and its command.
package evergreen
