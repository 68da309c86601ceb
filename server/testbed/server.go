package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Server is a process `evergreen serve`. It keeps its address and its folder
// over restarts.
type Server struct {
	Exe    string // the program
	Dir    string // has data, config.json and serve.log
	Addr   string // host:port that it listens on
	Env    []string
	Config []byte // its configuration; nil is that of flow A

	cmd  *exec.Cmd
	done chan error
}

// URL is where it is reached.
func (s *Server) URL() string { return "http://" + s.Addr }

// Start runs the process and waits until it is healthy.
func (s *Server) Start() error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	config := filepath.Join(s.Dir, "config.json")
	text := s.Config
	if text == nil {
		// All instances of the tests are one sender.
		text = []byte(`{"roles": ["collect", "dashboard"], "limits": {"per_sender": 100000, "global": 100000}}`)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return err
	}
	s.cmd = exec.Command(s.Exe, "serve", "--listen", s.Addr, "--data", filepath.Join(s.Dir, "data"), "--config", config)
	s.cmd.Env = append(os.Environ(), s.Env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, done := s.cmd, make(chan error, 1)
	s.done = done
	go func() { done <- cmd.Wait() }()
	deadline := time.Now().Add(60 * time.Second)
	for {
		resp, err := http.Get(s.URL() + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-done:
			done <- err
			return fmt.Errorf("the server ended: %v\n%s", err, s.LogTail(20))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not answer: %v\n%s", err, s.LogTail(20))
		}
	}
}

// Kill ends the process at once, as a crash does.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	s.done <- <-s.done
}

// Stop ends the process as a service manager does, and kills it if it has not
// ended after 30 seconds.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			return fmt.Errorf("the server ended with %w\n%s", err, s.LogTail(20))
		}
		return nil
	case <-time.After(30 * time.Second):
		s.Kill()
		return errors.New("the server did not stop\n" + s.LogTail(20))
	}
}

// LogTail is the last lines that it wrote.
func (s *Server) LogTail(n int) string {
	b, err := os.ReadFile(filepath.Join(s.Dir, "serve.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Get reads a path of it, or a URL; another status than 200 is an error.
func (s *Server) Get(ctx context.Context, path string) ([]byte, error) {
	if !strings.HasPrefix(path, "http") {
		path = s.URL() + path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, b)
	}
	return b, err
}
