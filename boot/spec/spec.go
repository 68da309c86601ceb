// Package spec has what the build service made this executable from, so early
// that packages which start before Caddy can read it.
package spec

// Build is a mark and the spec as JSON; "" in other builds. A package of the
// program that the service generates sets it when it is initialised: that
// package and this one import nothing else, and so come before all that do.
var Build string
