// Package selfupdate proves, with real processes, that Caddy updates itself: it
// has tests only, which need the build tag e2e, Linux and root.
//
// One update service runs for all of them. It builds and signs the Caddys that
// they start, the good candidates and the bad ones; a bad one has a plugin
// (testdata/badplugin) whose second version misbehaves as its environment says.
package selfupdate
