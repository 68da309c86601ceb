package evergreen

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	healthTimeout = 10 * time.Second // of one request
	maxHealthAsks = 16               // sites of a server that are asked for
	healthTries   = 3                // an upstream may hiccup
)

// A checkup asks the helper real requests, through the sockets that its
// configuration has for that: each server, each address, its sites, TLS
// included. It is well if it answers as this process does: an error of the 5xx
// class, or none at all, needs to be this process's answer, too.
type checkup struct {
	dir     string // of the sockets
	servers []checkedServer
}

type checkedServer struct {
	name     string
	tls      bool // there are TLS policies
	httpPort int  // without TLS all the same
	hosts    []string
	own      []string // "host:port" where this process can be asked itself
}

// newCheckup looks at the servers of the running configuration.
func newCheckup(dir string, config []byte) *checkup {
	c := &checkup{dir: dir}
	app := httpOf(caddy.ActiveContext())
	if app == nil {
		return c
	}
	hosts := hostsOf(config)
	httpPort := app.HTTPPort
	if httpPort == 0 {
		httpPort = caddyhttp.DefaultHTTPPort
	}
	for _, name := range serverNames(userServers(app, config)) {
		srv := app.Servers[name]
		s := checkedServer{name: name, tls: len(srv.TLSConnPolicies) > 0, httpPort: httpPort, hosts: hosts[name]}
		for _, l := range srv.Listen {
			if na, err := caddy.ParseNetworkAddress(l); err == nil && (na.Network == "tcp" || na.Network == "tcp4" || na.Network == "tcp6") {
				s.own = append(s.own, dialable(na))
			}
		}
		c.servers = append(c.servers, s)
	}
	return c
}

// dialable is where this host reaches an address that is listened on.
func dialable(na caddy.NetworkAddress) string {
	switch na.Host {
	case "", "0.0.0.0":
		na.Host = "127.0.0.1"
	case "::":
		na.Host = "::1"
	}
	return na.JoinHostPort(0)
}

// healthy returns what is wrong with the helper.
func (c *checkup) healthy(ctx context.Context, _ int) error {
	sockets, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	if len(c.servers) > 0 && len(sockets) == 0 {
		return errors.New("the helper serves none of this configuration's servers")
	}
	for _, e := range sockets {
		i, port, ok := parseSocketName(e.Name())
		if !ok || i >= len(c.servers) {
			continue
		}
		s := c.servers[i]
		encrypted := s.tls && port != s.httpPort
		for _, host := range s.hosts {
			if err := c.site(ctx, s, filepath.Join(c.dir, e.Name()), host, port, encrypted); err != nil {
				return fmt.Errorf("server %s, site %q: %w", s.name, host, err)
			}
		}
	}
	return nil
}

func (c *checkup) site(ctx context.Context, s checkedServer, socket, host string, port int, encrypted bool) error {
	var status int
	var err error
	for try := range healthTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
		}
		if status, err = askSite(ctx, "unix", socket, host, port, encrypted); err == nil && status < 500 {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// Is it this server's own answer?
	for _, own := range s.own {
		if !strings.HasSuffix(own, fmt.Sprintf(":%d", port)) {
			continue
		}
		mine, mineErr := askSite(ctx, "tcp", own, host, port, encrypted)
		if mineErr != nil || mine >= 500 {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("it answers with status %d, and the running server does not", status)
}

// askSite makes one request.
func askSite(ctx context.Context, network, address, host string, port int, encrypted bool) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	scheme := "http"
	if encrypted {
		scheme = "https"
	}
	authority := host
	if authority == "" {
		authority = "localhost"
	}
	if port != 0 && port != 80 && port != 443 {
		authority = net.JoinHostPort(authority, fmt.Sprint(port))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+authority+"/", nil)
	if err != nil {
		return 0, nil // a host of the configuration's that no request can be made for
	}
	req.Header.Set("User-Agent", "caddy-evergreen (health check of an update)")
	tr := &http.Transport{
		DisableKeepAlives: true,
		// Which certificate is right was seen in the rehearsal. Here it is enough
		// that there is one, as the address may not be the name's.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host}, //nolint:gosec // see above
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	return resp.StatusCode, nil
}

// userServers are the app's servers that the configuration has: Caddy adds one
// for redirects.
func userServers(app *caddyhttp.App, config []byte) map[string]*caddyhttp.Server {
	users := map[string]*caddyhttp.Server{}
	for name := range hostsOf(config) {
		if srv := app.Servers[name]; srv != nil {
			users[name] = srv
		}
	}
	return users
}

// hostsOf lists the sites of each server: the names in its routes' matchers, a
// bounded number, in order. A wildcard is not asked for: which names are below
// it is not known, and a certificate might be obtained for a wrong one. Servers
// without names are asked without one.
func hostsOf(config []byte) map[string][]string {
	var c struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []routeHosts `json:"routes"`
				} `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	out := map[string][]string{}
	if json.Unmarshal(config, &c) != nil {
		return out
	}
	for name, srv := range c.Apps.HTTP.Servers {
		var hosts []string
		for _, r := range srv.Routes {
			for _, m := range r.Match {
				for _, h := range m.Host {
					if h != "" && !strings.ContainsAny(h, "*{ /") && !slices.Contains(hosts, h) {
						hosts = append(hosts, h)
					}
				}
			}
		}
		slices.Sort(hosts)
		if len(hosts) > maxHealthAsks {
			hosts = hosts[:maxHealthAsks]
		}
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		out[name] = hosts
	}
	return out
}

type routeHosts struct {
	Match []struct {
		Host []string `json:"host"`
	} `json:"match"`
}
