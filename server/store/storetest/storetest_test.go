package storetest

import (
	"testing"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// The yardstick passes the suite, so that what the suite asks for is no
// engine's whim.
func TestReference(t *testing.T) {
	Run(t,
		func(t *testing.T) store.Store { return NewReference() },
		func(t *testing.T, s store.Store) store.Store { return s })
}
