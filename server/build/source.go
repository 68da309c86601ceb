package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoSource says that no checkout of the module lies above a folder.
var ErrNoSource = errors.New("there is no checkout of " + Module + " in this folder or above it")

// FindSource finds the checkout of our module that dir lies in.
func FindSource(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), "module "+Module+"\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ErrNoSource
		}
		dir = parent
	}
}
