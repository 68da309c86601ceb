package build

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// ErrDiffers says that an executable is not what its spec builds to.
var ErrDiffers = errors.New("the executable is not what its spec builds to")

// Verify makes an executable again from the spec inside it, and compares all
// bytes. The error of one that differs has ErrDiffers in its chain, and tells
// which modules do.
func (m *Maker) Verify(ctx context.Context, file string, on func(step string)) (*artifact.Build, error) {
	spec, err := ReadSpec(file)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "evergreen-verify-")
	if err != nil {
		return nil, fmt.Errorf("making a folder to build in: %w", err)
	}
	defer os.RemoveAll(dir)
	b, err := m.Make(ctx, spec, filepath.Join(dir, "caddy"), on)
	if err != nil {
		return nil, err
	}
	sum, err := hashFile(file)
	if err != nil {
		return nil, err
	}
	if sum == b.SHA256 {
		return b, nil
	}
	differ := fmt.Errorf("%w: its SHA-256 is %s, that of the spec's build %s", ErrDiffers, sum, b.SHA256)
	if info, err := buildinfo.ReadFile(file); err == nil {
		if d := difference(buildList(info, spec.Plugins), b.List); d != "" {
			differ = fmt.Errorf("%w\n%s", differ, d)
		}
	}
	return b, differ
}

// hasSource tells whether our module's source, if the spec has it, can be had.
func (m *Maker) hasSource(s artifact.Spec) error {
	if s.Evergreen == "" || !strings.HasPrefix(s.Evergreen, unreleased) {
		return nil
	}
	if m.cfg.Source == nil || m.cfg.Source.Version != s.Evergreen {
		have := "none"
		if m.cfg.Source != nil {
			have = m.cfg.Source.Version
		}
		return fmt.Errorf("%w: %s %s was never released; the source here is %s: name the folder with that source", ErrSpec, Module, s.Evergreen, have)
	}
	return nil
}

// difference lists what differs between two build lists.
func difference(was, is wire.BuildList) string {
	var lines []string
	if was.Go != is.Go {
		lines = append(lines, fmt.Sprintf("  go: %s, and %s when built again", was.Go, is.Go))
	}
	for _, m := range was.Modules {
		if v := is.Version(m.Path); v != m.Version {
			if v == "" {
				v = "none"
			}
			lines = append(lines, fmt.Sprintf("  %s: %s, and %s when built again", m.Path, m.Version, v))
		}
	}
	for _, m := range is.Modules {
		if was.Version(m.Path) == "" {
			lines = append(lines, fmt.Sprintf("  %s: none, and %s when built again", m.Path, m.Version))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxExecutable)); err != nil {
		return "", fmt.Errorf("reading the executable: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
