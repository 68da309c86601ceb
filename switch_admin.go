package evergreen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

func init() {
	caddy.RegisterModule(switchAPI{})
}

// The admin endpoint is not bridged: a helper that answered there would have
// another configuration loaded than the next executable has. Instead its
// listening socket is inherited: who connects while one executable ends and the
// next one starts waits in the queue, and is answered by the next one.

// ownAdmin is the admin endpoint's server that last answered a request of
// ours. Caddy does not tell it otherwise.
var ownAdmin atomic.Pointer[http.Server]

// switchAPI answers whether a switch is on its way.
type switchAPI struct{}

// CaddyModule returns the Caddy module information.
func (switchAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.evergreen_switch", New: func() caddy.Module { return new(switchAPI) }}
}

// Routes are GET /evergreen/switch.
func (switchAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: apiBase + "switch", Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", http.MethodGet)
			return failure(http.StatusMethodNotAllowed, "%sswitch takes GET, not %.20q", apiBase, r.Method)
		}
		if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
			ownAdmin.Store(s)
		}
		return answer(w, struct {
			Switching bool `json:"switching"`
		}{switching.Load()})
	})}}
}

// heldAdmin is the admin endpoint's listening socket, kept open.
type heldAdmin struct {
	Descriptor int    `json:"descriptor"`
	Network    string `json:"network"` // "tcp" or "unix"
	Address    string `json:"address"`

	counted io.Closer // keeps Caddy from removing a Unix socket's path
}

// holdAdmin returns nil where there is nothing to hold.
func holdAdmin(ctx context.Context) (*heldAdmin, error) {
	address, off, err := adminListen()
	if err != nil || off {
		return nil, err
	}
	na, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return nil, err
	}
	switch na.Network {
	case "unix":
		h := &heldAdmin{Network: "unix", Address: withoutMode(na.Host)}
		if strings.HasPrefix(h.Address, "@") {
			return nil, errors.New("the next executable can't bind an abstract Unix socket that is in use")
		}
		var held heldSockets
		held.numbers = map[string]int{}
		if err := held.hold(ctx, na, h.Address); err != nil {
			return nil, err
		}
		h.Descriptor, h.counted = held.numbers[h.Address], held.listeners[0]
		return h, passOn(h.Descriptor, false)
	case "tcp", "tcp4", "tcp6":
		h := &heldAdmin{Network: "tcp", Address: dialable(na)}
		h.Descriptor, err = listeningOn(isAdmin())
		return h, err
	}
	return nil, nil
}

func (h *heldAdmin) release() {
	if h == nil {
		return
	}
	closeDescriptor(h.Descriptor)
	if h.counted != nil {
		_ = h.counted.Close()
	}
}

// adminPatience is how long the last requests to the admin endpoint may take
// before exec; a reload among them gives the switch up.
const adminPatience = 30 * time.Second

// handOver ends the admin endpoint's server, with what it has begun, and leaves
// its queue to the next executable.
func (h *heldAdmin) handOver() error {
	if h == nil {
		return nil
	}
	address, _, err := adminListen()
	if err != nil {
		return err
	}
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, apiBase+"switch", nil, nil)
	if err != nil {
		return fmt.Errorf("asking the own admin endpoint: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	resp.Body.Close()
	srv := ownAdmin.Load()
	if srv == nil {
		return nil // it ends with exec
	}
	if err := passOn(h.Descriptor, true); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminPatience)
	defer cancel()
	// What takes longer than this is a profile, say, and is cut off.
	_ = srv.Shutdown(ctx)
	return nil
}

// inherit answers who waits in an inherited queue, by way of this
// process's own endpoint as soon as there is one; then it closes the queue.
func (h *heldAdmin) inherit(ln net.Listener) {
	var wg sync.WaitGroup
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		_ = guard("accept for the admin endpoint", func() error {
			for {
				c, err := ln.Accept()
				if err != nil {
					return nil
				}
				wg.Add(1)
				go func() {
					defer wg.Done()
					_ = guard("forward to the admin endpoint", func() error { return h.forward(c) })
				}()
			}
		})
	}()
	until := time.Now().Add(2 * patience)
	for running() == 0 && time.Now().Before(until) {
		time.Sleep(5 * time.Millisecond)
	}
	// Whoever found this queue and not the new one has connected by now. Who
	// comes in the next moment is made to ask again, and finds the new one.
	time.Sleep(200 * time.Millisecond)
	dropNew(h.Descriptor)
	time.Sleep(100 * time.Millisecond)
	_ = ln.Close()
	<-accepted
	wg.Wait()
}

// forward joins a connection with the process's own admin endpoint.
func (h *heldAdmin) forward(c net.Conn) error {
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for running() == 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(5 * time.Millisecond)
	}
	own, err := new(net.Dialer).DialContext(ctx, h.Network, h.Address)
	if err != nil {
		return err
	}
	defer own.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = guard("forward to the admin endpoint", func() error {
			_, err := io.Copy(own, c)
			if w, ok := own.(interface{ CloseWrite() error }); ok {
				_ = w.CloseWrite()
			}
			return err
		})
	}()
	_, err = io.Copy(c, own)
	_ = c.Close()
	<-done
	return err
}

// inheritedAdmin reads a heldAdmin that an executable before this one handed on.
func inheritedAdmin(raw json.RawMessage) *heldAdmin {
	var h heldAdmin
	if len(raw) == 0 || json.Unmarshal(raw, &h) != nil || h.Descriptor < 3 || h.Address == "" || h.Network != "tcp" && h.Network != "unix" {
		return nil
	}
	return &h
}

var _ caddy.AdminRouter = switchAPI{}
