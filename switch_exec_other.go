//go:build !unix

package evergreen

import "errors"

// canExec: Windows has no way to put another image into a running process.
const canExec = false

func execve(string, []string, []string) error {
	return errors.New("this platform can't replace a running process")
}
