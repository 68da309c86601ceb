package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Modules lists the modules that a Caddy with the checkout's module is built
// from, in the order of their paths.
func Modules(dir string) ([]*wire.Module, error) {
	source, err := FindSource(dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-deps", "-json=Module", ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing modules: %w", err)
	}
	var modules []*wire.Module
	seen := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Module *struct {
				Path, Version string
				Main          bool
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			slices.SortFunc(modules, func(a, b *wire.Module) int { return strings.Compare(a.Path, b.Path) })
			return modules, nil
		} else if err != nil {
			return nil, fmt.Errorf("listing modules: %w", err)
		}
		if m := p.Module; m != nil && !m.Main && !seen[m.Path] {
			seen[m.Path] = true
			modules = append(modules, &wire.Module{Path: m.Path, Version: m.Version})
		}
	}
}
