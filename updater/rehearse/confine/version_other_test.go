//go:build darwin || freebsd

package confine

func landlockVersion() int { return 0 }
