//go:build e2e

package linked_test

import "testing"

// TestE2EPlatforms reads executables of platforms whose standard library takes a
// while to compile: another byte order, another size of pointers.
func TestE2EPlatforms(t *testing.T) {
	platforms(t, []platform{{"linux", "s390x", "-s -w"}, {"linux", "arm", "-s -w"}, {"freebsd", "amd64", ""}})
}
