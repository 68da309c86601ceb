//go:build e2e && linux

package selfupdate

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
)

// What all tests share; removed after the last one.
var (
	shared    string // a folder
	evergreen string // the server's executable
)

func TestMain(m *testing.M) {
	sandbox.Enter() // where Caddys are built
	enterClock()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if shared, err = os.MkdirTemp("", "evergreen-selfupdate-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(shared)
	evergreen = filepath.Join(shared, "evergreen")
	if out, err := exec.Command("go", "build", "-o", evergreen, "../../cmd/evergreen").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the server: %v\n%s", err, out)
		return 1
	}
	defer endService()
	return m.Run()
}
