//go:build !unix

package early

import "errors"

// A process can't become another executable here, so nobody asks for it.
func execute(string, []string, []string) error { return errors.ErrUnsupported }
