//go:build !linux

package boot

// KeepCapabilities does nothing: only Linux has capabilities that executing
// another file loses.
func KeepCapabilities() (undo func() error, err error) { return func() error { return nil }, nil }
