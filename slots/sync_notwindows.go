//go:build !windows

package slots

import "os"

func openToSync(name string) (*os.File, error) { return os.Open(name) }
