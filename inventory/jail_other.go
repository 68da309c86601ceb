//go:build !freebsd

package inventory

func jailed() bool { return false }
