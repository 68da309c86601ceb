package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A shared buffer is written by a command and read by the test.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestAlert subscribes by command at a running service, whose webhook reaches
// the command that listens, and ends the subscription.
func TestAlert(t *testing.T) {
	config := defaultConfig()
	config.Data, config.Roles = t.TempDir(), []string{roleCollect, roleDashboard}
	config.Alerts.Private = true
	if err := config.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := newService(t.Context(), config, wire.DefaultTiming, slog.New(slog.NewTextHandler(io.Discard, nil)), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	ln := httptest.NewUnstartedServer(nil).Listener
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx, ln) }()
	var heard shared
	ports, err := freeport.Pick(1)
	if err != nil {
		t.Fatal(err)
	}
	hook := fmt.Sprintf("127.0.0.1:%d", ports[0])
	go func() { ended <- run(ctx, []string{"alert", "listen", "--listen", hook}, &heard, io.Discard) }()
	defer func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()

	server := "http://" + ln.Addr().String()
	command := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(ctx, append(append([]string{"alert"}, args...), "--server", server), &out, io.Discard)
		return out.String(), err
	}
	key := ed25519.NewKeyFromSeed([]byte("thirty-two bytes that are a seed"))
	link := server + wire.Link(key, time.Now().Add(time.Hour))
	out, err := command("subscribe", "--measure", "silence", "--link", link, "--webhook", "http://"+hook+"/", "--name", "Mine", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var c watch.Created
	if err := json.Unmarshal([]byte(out), &c); err != nil || !strings.HasPrefix(c.Secret, "whsec_") {
		t.Fatalf("%v: %s", err, out)
	}
	for !strings.Contains(heard.String(), "alert.subscribed") {
		if ctx.Err() != nil {
			t.Fatalf("the webhook is not told: %q", heard.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
	for {
		out, err = command("show", c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "webhook: delivered") {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("it is not kept that it was told: %s", out)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !strings.HasPrefix(out, "Mine\nNUMBER") || !strings.Contains(out, "No reports") {
		t.Error(out)
	}
	if out, err := command("show"); err != nil || !strings.Contains(out, "Server errors (5xx)") {
		t.Errorf("%v: %s", err, out)
	}
	for says, args := range map[string][]string{
		"this link is not valid":         {"subscribe", "--measure", "silence", "--link", link[:len(link)-4]},
		"is not in the dictionary":       {"subscribe", "--query", "metric=http.request"},
		"there is no such subscription:": {"show", "0123"},
	} {
		if _, err := command(args...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", args, err)
		}
	}
	t.Setenv("EVERGREEN_ALERT_TOKEN", "wrong")
	if _, err := command("end", c.ID); err == nil || !strings.Contains(err.Error(), "takes the token") {
		t.Errorf("ended by a wrong token: %v", err)
	}
	t.Setenv("EVERGREEN_ALERT_TOKEN", c.Token)
	if _, err := command("end", c.ID); err != nil {
		t.Error(err)
	}
	if _, err := command("show", c.ID); err == nil {
		t.Error("it is there after its end")
	}
}
