//go:build !unix

package boot

import "errors"

var errNotHere = errors.New("a process can't become another executable on this system: install the update by hand")

func executable(string) error { return errNotHere }

func become(string, []string, []string) error { return errNotHere }
