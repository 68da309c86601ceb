package evergreen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A selfCheck asks this process's own listeners, over loopback where they listen
// everywhere: on a server that hardly anyone asks, nothing else shows that a
// process hangs. net/http answers the question itself, as its Host is none: no
// handler runs and nothing is logged. TLS's answer is that the question is not TLS.
type selfCheck struct {
	listeners func() []string // network and address with a slash between

	mu     sync.Mutex
	failed map[string]int // in a row, of those that have answered before
	harm   string
}

const (
	checkEvery = 5 * time.Second
	checkTime  = 5 * time.Second // for each
	// checksFailed in a row are harm.
	checksFailed = 4
	// checkMost listeners are asked.
	checkMost = 16
)

// run asks until ctx is done.
func (c *selfCheck) run(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		_ = guard("check this process's listeners", func() error { c.once(ctx); return nil })
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *selfCheck) once(ctx context.Context) {
	listeners := c.listeners()
	listeners = listeners[:min(len(listeners), checkMost)]
	errs := make([]error, len(listeners))
	var all sync.WaitGroup
	for i, l := range listeners {
		all.Go(func() { errs[i] = guard("ask a listener", func() error { return answers(ctx, l) }) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.failed
	c.failed = map[string]int{}
	for i, l := range listeners {
		n, answered := before[l]
		switch {
		case errs[i] == nil:
			c.failed[l] = 0
		case answered: // else it may be one that expects something else, as PROXY headers
			c.failed[l] = n + 1
			if n+1 >= checksFailed && c.harm == "" {
				c.harm = fmt.Sprintf("the listener %s answered before and does not any more: %v", l, errs[i])
			}
		}
	}
}

// found is the harm that was found; "" is none.
func (c *selfCheck) found() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.harm
}

// answers asks a listener for HTTP, or for TLS, and hears the beginning of any answer of HTTP.
func answers(ctx context.Context, listener string) error {
	network, address, _ := strings.Cut(listener, "/")
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(checkTime)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: a host\r\nConnection: close\r\n\r\n")); err != nil {
		return err
	}
	var answer [5]byte
	for n := 0; n < len(answer); {
		k, err := conn.Read(answer[n:])
		n += k
		if err != nil && n < len(answer) {
			return err
		}
	}
	if string(answer[:]) != "HTTP/" {
		return errors.New("the answer is not HTTP")
	}
	return nil
}

// liveListeners are those of the running configuration's HTTP servers, as one dials them.
func liveListeners() (all []string) {
	ctx := caddy.ActiveContext()
	if ctx.Context == nil {
		return nil
	}
	v, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	app, _ := v.(*caddyhttp.App)
	if app == nil {
		return nil
	}
	for _, srv := range app.Servers {
		if len(srv.Protocols) > 0 && !slices.Contains(srv.Protocols, "h1") && !slices.Contains(srv.Protocols, "h2") {
			continue
		}
		for _, l := range srv.Listen {
			a, err := caddy.ParseNetworkAddress(l)
			switch {
			case err != nil || a.EndPort > a.StartPort:
			case a.Network == "unix":
				all = append(all, "unix/"+a.Host)
			case a.Network == "tcp" || a.Network == "tcp4" || a.Network == "tcp6":
				host := a.Host
				if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
					host = "localhost"
				}
				all = append(all, a.Network+"/"+net.JoinHostPort(host, strconv.Itoa(int(a.StartPort))))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
