package evergreen

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// instance is the id in checks, by which a rollout decides whom it has reached.
// Where telemetry is on, it is telemetry's, so that the health of those that an
// update reached can be told from that of the others. Where it is off, it is a
// random one that nothing else knows, kept in the folder of updates.
func (u *updates) instance() (*wire.InstanceID, error) {
	if p := currentProcess(); p != nil && p.current().set.Off == "" {
		if r := p.reporter(); r != nil {
			if id, err := wire.ParseInstanceID(r.Status().Instance); err == nil {
				return &id, nil
			}
		}
	}
	file := filepath.Join(u.dir, "instance")
	b, err := readSmall(file, 100)
	if err == nil {
		if id, err := wire.ParseInstanceID(strings.TrimSpace(string(b))); err == nil {
			return &id, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the id for updates: %w", err)
	}
	var id wire.InstanceID
	rand.Read(id[:]) // never fails
	if err := keepFile(file, []byte(id.String()+"\n")); err != nil {
		return nil, fmt.Errorf("keeping the id for updates: %w", err)
	}
	return &id, nil
}
