package evergreen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/boot"
	"github.com/caddy-evergreen/evergreen/bridge"
)

// backMargin is what boot's own way back, which works also while packages are
// initialised, is later than the bridge's.
const backMargin = 15 * time.Second

// patience is how long the next executable may take to be up.
const patience = boot.DefaultWithin

// cross is the switch in the role of the process that is replaced.
func cross(ctx context.Context, to switchTarget, next *nextStart, o switchOptions) error {
	// From the last words on, what ends with Caddy's apps does not end this.
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	attached := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })

	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the path of this executable: %w", err)
	}
	was := boot.Current()
	server := newSwitchServer(next.live)
	options := bridge.Options{
		Next: bridge.Command{Path: to.Executable, Args: started.args},
		Back: bridge.Command{Path: self, Args: started.args},
		Skip: isAdmin(), Server: server, Settle: o.Settle, Grace: o.grace(server.configuredGrace), Patience: patience,
		Log: logTo(o.Log),
		Before: func() error {
			attached()
			return server.lastWords(o.Before)
		},
	}
	guarded := boot.EnvGuarded(to.Slot, was.Installed, patience+backMargin, self, was.Slot)
	gap := bridge.Supported()
	if o.Rough && gap == nil {
		gap = errors.New("what runs now is worse than that")
	}
	if name := abstractSocket(); name != "" && gap == nil {
		gap = fmt.Errorf("a site listens on the abstract Unix socket %s, which can't be bound anew while another process has it", name)
	}
	var left leftOver
	switch server.admin, err = holdAdmin(); {
	case err != nil:
		server.admin = nil
		o.Log.Info("the admin endpoint will refuse connections for as long as the next executable takes to start", zap.Error(err))
	case server.admin != nil:
		defer server.admin.release()
		left.Admin, _ = json.Marshal(server.admin)
	}
	if gap != nil {
		o.Log.Warn("switching without a helper: new connections are refused for as long as Caddy takes to start", zap.Error(gap))
		options.Next.Env, options.Back.Env = next.environ(guarded, left), next.environ(boot.Env(was.Slot, was.Installed), left)
		return bridge.InPlace(inner, options)
	}
	o.say()
	sockets, err := helperSockets()
	if err != nil {
		return err
	}
	defer os.RemoveAll(sockets)
	held, err := holdSockets(ctx)
	if err != nil {
		return err
	}
	defer held.release()
	config, err := helperConfig(next.config, helperRewrite{Sockets: sockets, Unix: held.numbers})
	if err != nil {
		return err
	}
	left.Sockets, left.Close = sockets, held.descriptors()
	// Whoever comes up cleans up, also what was before.
	options.Next.Env, options.Back.Env = next.environ(guarded, left), next.environ(boot.Env(was.Slot, was.Installed), left)
	options.Helper = bridge.Command{
		Path: to.Executable, Args: next.helperArgs(), Stdin: config,
		Env: helperEnviron(boot.Env(to.Slot, was.Installed)),
	}
	options.Healthy = newCheckup(sockets, next.config).healthy
	return bridge.Switch(inner, options)
}

// say tells what will not be as smooth as the rest, before it is done.
func (o *switchOptions) say() {
	found, err := bridge.Survey()
	if err != nil {
		return // Switch will say it
	}
	for _, s := range found {
		if s.Network == "unix" && s.Why != "" {
			o.Log.Info("a Unix socket is bound anew by the next executable: a client that connects within those microseconds finds none", zap.String("path", s.Path))
		}
	}
}

// isAdmin tells which sockets are the admin endpoints': they are this process's
// to the end.
func isAdmin() func(network string, addr netip.AddrPort) bool {
	address, off, err := adminListen()
	if err != nil {
		return nil
	}
	if off {
		address = "" // there may be a remote one
	}
	local := atAddress(address)
	remote := atAddress(remoteAdminListen())
	return func(network string, addr netip.AddrPort) bool {
		return network == "tcp" && (local(addr) || remote(addr))
	}
}

// atAddress tells whether a socket is what Caddy listens with on an address.
func atAddress(address string) func(netip.AddrPort) bool {
	na, err := caddy.ParseNetworkAddress(address)
	if address == "" || err != nil || na.IsUnixNetwork() || na.IsFdNetwork() {
		return func(netip.AddrPort) bool { return false }
	}
	host, hostErr := netip.ParseAddr(na.Host)
	return func(addr netip.AddrPort) bool {
		switch {
		case addr.Port() != uint16(na.StartPort):
			return false
		case hostErr == nil:
			return addr.Addr().Unmap() == host.Unmap()
		case na.Host == "":
			return addr.Addr().IsUnspecified()
		}
		return addr.Addr().IsLoopback() || na.Host != "localhost"
	}
}

// helperArgs are the arguments of the helper.
func (n *nextStart) helperArgs() []string {
	args := []string{started.args[0], "run", "--config", "-"}
	for _, f := range n.flags.envfiles {
		args = append(args, "--envfile="+f)
	}
	return args
}

// helperEnviron is the environment of the helper: it tells no service manager
// that it is there, reports nothing and updates nothing.
func helperEnviron(boots string) []string {
	var env []string
	for _, kv := range started.env {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "EVERGREEN_TELEMETRY", "EVERGREEN_UPDATES":
		default:
			env = append(env, kv)
		}
	}
	return append(env, "EVERGREEN_TELEMETRY=off", "EVERGREEN_UPDATES=off", boots)
}

// landed is what became of the switch that made this process.
type landed struct {
	done chan struct{} // closed when it is known
	err  error
	up   atomic.Bool
}

// finish is the switch in the role of the process that has replaced another one.
func (l *landed) finish(n *bridge.Next) {
	log := liveLogger()
	n.Log = logTo(log)
	defer close(l.done)
	if n.Failed != "" {
		log.Error("the executable that this process was switched to did not come up: what ran before runs again", zap.String("why", n.Failed))
	}
	up := make(chan error, 1)
	go func() {
		<-loaded()
		l.up.Store(true)
		boot.Up(caddy.AppDataDir())
		up <- nil
	}()
	l.err = guard("finish a switch", func() error {
		return n.Finish(context.Background(), newSwitchServer(nil), up)
	})
	if l.err != nil {
		log.Warn("the switch was not finished in order; the server runs", zap.Error(l.err))
	}
}

// ended is called when `caddy run` returns, which it does only if it fails.
func (l *landed) ended(n *bridge.Next) {
	if l.up.Load() {
		return
	}
	if err := n.GoBack(errors.New("Caddy did not start; what it logged says why")); err != nil {
		caddy.Log().Named("evergreen").Error("going back to the executable before", zap.Error(err))
	}
}
