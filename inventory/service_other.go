//go:build !windows

package inventory

func windowsService() bool { return false }
