//go:build !linux

package rehearse

// listens can't be known here.
func listens(int, endpoint) bool { return true }
