package evergreen

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/boot/early"
	"github.com/caddy-evergreen/evergreen/slots"
)

// 'caddy version' prints the version of the executable that is run, and scripts
// read it: what Caddy updated itself to is told beside it, on standard error.
func init() {
	if len(os.Args) != 2 || os.Args[1] != "version" {
		return
	}
	if _, internal := early.Taken(); internal {
		return // an updater asks
	}
	_ = guard("tell both versions", func() error {
		tellVersion(os.Stderr, updatesDir(), packagedUpdates())
		return nil
	})
}

// tellVersion says what 'caddy run' starts, if that is not this executable: by
// the first folder with an active slot.
func tellVersion(out io.Writer, folders ...string) {
	self, err := os.Executable()
	if err != nil {
		return
	}
	for _, folder := range folders {
		if folder == "" {
			continue
		}
		s, ok, err := slots.Open(folder).Active()
		if err != nil || !ok {
			continue
		}
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			if in, err := filepath.Rel(real, self); err == nil && filepath.IsLocal(in) {
				return // a slot itself
			}
		}
		if s.State == slots.Bad || !s.Sealed || s.Tries == 0 {
			continue
		}
		simple, _ := caddy.Version()
		if s.Caddy == simple && s.Installed.Caddy == simple {
			fmt.Fprintf(out, "Caddy has updated itself to %s with newer modules, which 'run' starts (%s).\n", s.Caddy, folder)
			return
		}
		fmt.Fprintf(out, "Caddy has updated itself to %s, which 'run' starts (%s). The installed executable is:\n", s.Caddy, folder)
		return
	}
}
