package evergreen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
)

// A Unix socket has one listener, and there is nothing to steer. But its queue
// can be shared: the helper inherits the very socket and accepts from it beside
// this process, then alone. The next executable binds the path anew; whoever
// connected before that is in the old queue, which the helper empties.

// heldSockets are the Unix sockets that the http app's servers listen on, kept
// open, and their paths in place, when the servers close them.
type heldSockets struct {
	listeners []io.Closer
	numbers   map[string]int // descriptor by path
}

// holdSockets holds them. Caddy counts listeners of a path, and removes the
// path with the last one.
func holdSockets(ctx context.Context) (*heldSockets, error) {
	h := &heldSockets{numbers: map[string]int{}}
	app := httpOf(caddy.ActiveContext())
	if app == nil {
		return h, nil
	}
	for _, srv := range app.Servers {
		for _, address := range srv.Listen {
			na, err := caddy.ParseNetworkAddress(address)
			if err != nil || na.Network != "unix" {
				continue
			}
			path := withoutMode(na.Host)
			if _, held := h.numbers[path]; held {
				continue
			}
			if err := h.hold(ctx, na, path); err != nil {
				h.release()
				return nil, fmt.Errorf("keeping the Unix socket %s: %w", path, err)
			}
		}
	}
	return h, nil
}

// abstractSocket is one of Linux's sockets without a file that a server listens
// on; "" if there is none.
func abstractSocket() string {
	app := httpOf(caddy.ActiveContext())
	if app == nil {
		return ""
	}
	for _, srv := range app.Servers {
		for _, address := range srv.Listen {
			if na, err := caddy.ParseNetworkAddress(address); err == nil && na.IsUnixNetwork() && strings.HasPrefix(na.Host, "@") {
				return na.Host
			}
		}
	}
	return ""
}

func (h *heldSockets) hold(ctx context.Context, na caddy.NetworkAddress, path string) error {
	ln, err := na.Listen(ctx, 0, net.ListenConfig{})
	if err != nil {
		return err
	}
	if c, ok := ln.(io.Closer); ok {
		h.listeners = append(h.listeners, c)
	}
	f, ok := ln.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return errors.New("this Caddy wraps its listener")
	}
	fd, err := inheritable(f)
	if err != nil {
		return err
	}
	h.numbers[path] = fd
	return nil
}

// release gives the sockets back, when the switch failed.
func (h *heldSockets) release() {
	for _, fd := range h.numbers {
		closeDescriptor(fd)
	}
	for _, ln := range h.listeners {
		_ = ln.Close()
	}
}

// descriptors are what the next executable has to close.
func (h *heldSockets) descriptors() []int {
	var fds []int
	for _, fd := range h.numbers {
		fds = append(fds, fd)
	}
	return fds
}

// withoutMode cuts the permission bits off a Unix socket's address.
func withoutMode(path string) string {
	path, _, _ = strings.Cut(path, "|")
	return path
}
