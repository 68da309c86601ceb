// Package e2e runs the real server and real Caddys against each other: what is
// sent, killed and asked for here is what a user would. Its tests have the
// build tag e2e.
package e2e
