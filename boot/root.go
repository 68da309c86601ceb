package boot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/caddy-evergreen/evergreen/boot/spec"
	"github.com/caddy-evergreen/evergreen/wire"
)

var errNoRoot = errors.New("this executable knows no root of trust to verify the active slot with: set the root in the configuration, or a file with it in " + Root)

func panicked(r any) error {
	return fmt.Errorf("deciding which executable to run panics: %v: please report it", r)
}

func hash(b []byte) [32]byte { return sha256.Sum256(b) }

const maxRoot = 4 << 20 // bytes of root metadata

// TrustedRoot is the SHA-256 of the root metadata that is trusted without a
// configuration: of the file that the environment names, or what the build
// service embedded.
func TrustedRoot(env func(string) string) (sum [32]byte, known bool, err error) {
	if name := env(Root); name != "" {
		f, err := os.Open(name)
		if err != nil {
			return sum, false, fmt.Errorf("reading the root of trust that %s names: %w", Root, err)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxRoot+1))
		if err == nil && len(b) > maxRoot {
			err = fmt.Errorf("it has more than %d bytes", maxRoot)
		}
		if err != nil {
			return sum, false, fmt.Errorf("reading the root of trust that %s names: %w", Root, err)
		}
		return hash(b), true, nil
	}
	b, err := hex.DecodeString(embedded().Root)
	if err != nil || len(b) != len(sum) {
		return sum, false, nil
	}
	return [32]byte(b), true, nil
}

// embeddedSpec is the part of a spec that decides.
type embeddedSpec struct {
	Caddy   string               `json:"caddy"`
	Plugins []wire.ModuleVersion `json:"plugins"`
	Root    string               `json:"root"`
}

// embedded is the spec of this executable. What can't be read is as if it were
// not there.
func embedded() (s embeddedSpec) {
	at := strings.IndexByte(spec.Build, '{')
	if at < 0 || json.Unmarshal([]byte(spec.Build[at:]), &s) != nil {
		return embeddedSpec{}
	}
	return s
}
