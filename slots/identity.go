package slots

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"runtime/debug"

	"github.com/caddy-evergreen/evergreen/wire"
)

// An Identity tells whether an executable file was replaced by another build.
type Identity struct {
	Path    string `json:"path"`            // of the file
	Caddy   string `json:"caddy,omitempty"` // version
	BuildID string `json:"build_id"`        // SHA-256 of its build info, hexadecimal
}

// Same tells whether both are the same build, wherever their files are.
func (i Identity) Same(other Identity) bool { return i.BuildID != "" && i.BuildID == other.BuildID }

// Identify reads the identity of an executable file.
func Identify(path string) (Identity, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return Identity{}, fmt.Errorf("reading which build %s is: %w", path, err)
	}
	return IdentityOf(path, info), nil
}

// IdentityOf is the identity of an executable whose build info is known.
func IdentityOf(path string, info *debug.BuildInfo) Identity {
	sum := sha256.Sum256([]byte(info.String()))
	return Identity{Path: path, Caddy: caddyVersion(info), BuildID: hex.EncodeToString(sum[:])}
}

func caddyVersion(info *debug.BuildInfo) string {
	for _, m := range info.Deps {
		if m.Path != wire.CaddyPath {
			continue
		}
		if m.Replace != nil {
			return m.Replace.Version
		}
		return m.Version
	}
	return ""
}
