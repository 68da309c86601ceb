//go:build !linux && !darwin && !freebsd

package confine

import "os"

// launch refuses: on this system a program can't take another's place.
func launch(string) {
	os.Stderr.WriteString("nothing can be confined on this system\n")
	os.Exit(1)
}
