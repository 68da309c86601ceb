package evergreen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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

	na      caddy.NetworkAddress
	place   *os.File  // has the descriptor's number until handOver
	counted io.Closer // keeps Caddy from removing a Unix socket's path
}

// holdAdmin prepares to hand the admin endpoint over, and keeps a number for its
// socket's descriptor: the socket itself would stay open, with nobody who
// accepts, if a reload came. It returns nil where there is nothing to hand over.
func holdAdmin() (*heldAdmin, error) {
	address, off, err := adminListen()
	if err != nil || off {
		return nil, err
	}
	na, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return nil, err
	}
	h := &heldAdmin{na: na}
	switch na.Network {
	case "unix":
		h.Network, h.Address = "unix", withoutMode(na.Host)
		if strings.HasPrefix(h.Address, "@") {
			return nil, errors.New("the next executable can't bind an abstract Unix socket that is in use")
		}
	case "tcp", "tcp4", "tcp6":
		h.Network, h.Address = "tcp", dialable(na)
		fd, err := listeningOn(isAdmin())
		if err != nil {
			return nil, err
		}
		closeDescriptor(fd)
	default:
		return nil, nil
	}
	if h.place, err = os.Open(os.DevNull); err != nil {
		return nil, err
	}
	h.Descriptor = int(h.place.Fd())
	return h, nil
}

// take makes the descriptor that of the endpoint's listening socket.
func (h *heldAdmin) take() error {
	var fd int
	var err error
	if h.Network == "unix" {
		held := heldSockets{numbers: map[string]int{}}
		if err := held.hold(context.Background(), h.na, h.Address); err != nil {
			return err
		}
		fd, h.counted = held.numbers[h.Address], held.listeners[0]
	} else if fd, err = listeningOn(isAdmin()); err != nil {
		return err
	}
	defer closeDescriptor(fd)
	return takePlace(fd, h.Descriptor)
}

// release gives the queue up; for the second time it does nothing.
func (h *heldAdmin) release() {
	if h == nil {
		return
	}
	_ = h.place.Close()
	if h.counted != nil {
		_ = h.counted.Close()
		h.counted = nil
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
	if err := h.take(); err != nil {
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
