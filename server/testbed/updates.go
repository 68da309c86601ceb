package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Updates is a server with all its roles and keys of its own, which builds
// with the compiler's and the modules' caches of whoever runs it.
type Updates struct {
	*Server
	Token string // of its administrator
}

// StartUpdates makes keys below dir and runs the program exe as an update
// service. settings are added to those of "updates", env to the environment.
// The caller must Kill or Stop it.
func StartUpdates(ctx context.Context, exe, dir string, settings map[string]any, env ...string) (*Updates, error) {
	checkout, err := build.FindSource(".")
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the caches of go: %w", err)
	}
	caches := strings.Fields(string(out))
	ports, err := freeport.Pick(1)
	if err != nil {
		return nil, err
	}
	passphrase := filepath.Join(dir, "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		return nil, err
	}
	s := &Updates{Server: &Server{
		Exe: exe, Dir: dir, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])),
		Env: append([]string{"EVERGREEN_KEYS_PASSPHRASE_FILE=" + passphrase}, env...),
	}}
	data := filepath.Join(dir, "data")
	keys := exec.CommandContext(ctx, exe, "keys", "init", "--repository", filepath.Join(data, "tuf"), "--keys", filepath.Join(data, "keys"), "--offline", filepath.Join(dir, "offline"))
	keys.Env = append(os.Environ(), s.Env...)
	if out, err := keys.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("keys init: %w\n%s", err, out)
	}
	updates := map[string]any{
		"url": s.URL(), "source": checkout, "mod_cache": caches[0], "go_cache": caches[1], "check_every": "1h",
	}
	maps.Copy(updates, settings)
	s.Config, err = json.Marshal(map[string]any{
		"limits": map[string]any{"per_sender": 100_000, "global": 100_000}, "updates": updates,
	})
	if err != nil {
		return nil, err
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	token, err := os.ReadFile(filepath.Join(data, "admin-token"))
	if err != nil {
		s.Kill()
		return nil, err
	}
	s.Token = strings.TrimSpace(string(token))
	return s, nil
}

// Maintain runs a maintainer's command, with --json, and reads what it prints.
func (s *Updates) Maintain(ctx context.Context, into any, args ...string) error {
	cmd := exec.CommandContext(ctx, s.Exe, append(args, "--server", s.URL(), "--json")...)
	cmd.Env = append(os.Environ(), "EVERGREEN_TOKEN="+s.Token)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil && into != nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		return fmt.Errorf("evergreen %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return nil
}

// Ask orders a build.
func (s *Updates) Ask(ctx context.Context, r build.Request) (a build.Answer, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/api/v1/builds", strings.NewReader(string(body)))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", wire.TypeJSON)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = errors.New(resp.Status)
	}
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		err = fmt.Errorf("asking for %s: %w\n%s", body, err, text)
	}
	return a, err
}

// Order has the service build a Caddy and downloads it to a file.
func (s *Updates) Order(ctx context.Context, r build.Request, file string) (build.Answer, error) {
	a, err := s.Ask(ctx, r)
	if err != nil {
		return a, err
	}
	for a.State != "done" {
		if a.State == "failed" {
			return a, fmt.Errorf("building %+v: %s", r, a.Error)
		}
		select {
		case <-ctx.Done():
			return a, fmt.Errorf("building %+v, which is %s: %w", r, a.State, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
		b, err := s.Get(ctx, a.Self)
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err != nil {
			return a, err
		}
	}
	b, err := s.Get(ctx, a.Download)
	if err != nil {
		return a, err
	}
	return a, os.WriteFile(file, b, 0o755)
}
