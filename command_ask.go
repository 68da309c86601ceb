package evergreen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// askTimeout is longer than the admin API takes to reach a slow server in forget.
const askTimeout = 60 * time.Second

// maxAnswer is more than a report of the largest size has as JSON with names.
const maxAnswer = 64 << 20

// ask makes a request to the running Caddy. Errors say what to do about them.
//
// caddycmd.AdminAPIRequest is not used since its errors can't be told apart:
// no Caddy, a Caddy without Evergreen, and Evergreen saying no need different
// advice.
func (s *shared) ask(method, path string, body []byte) ([]byte, error) {
	address, err := s.adminAddress()
	if err != nil {
		return nil, err
	}
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 {
		return nil, fmt.Errorf("%.100q is no address of an admin API: use host:port, or unix//path/of/a/socket", address)
	}
	origin := "http://" + parsed.JoinHostPort(0)
	if parsed.IsUnixNetwork() {
		// Permission bits may follow the socket's path.
		parsed.Host, _, _ = strings.Cut(parsed.Host, "|")
		origin = "http://127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, origin+apiBase+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%.100q is no address of an admin API: %w", address, err)
	}
	if !parsed.IsUnixNetwork() {
		request.Header.Set("Origin", origin)
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, parsed.Network, parsed.JoinHostPort(0))
		},
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("no Caddy answers at %s (%w): start one with 'caddy run'; if it runs, its admin API is elsewhere, which --address or --config can tell, or is off", address, op.Err)
		}
		return nil, fmt.Errorf("asking the Caddy at %s: %w", address, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of the Caddy at %s: %w", address, err)
	}
	if response.StatusCode == http.StatusOK {
		return answer, nil
	}
	var problem struct{ Error string }
	_ = json.Unmarshal(answer, &problem)
	switch {
	case response.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("the Caddy that answers at %s has no Evergreen compiled in: 'caddy list-modules' of that executable shows admin.api.evergreen if it has; 'xcaddy build --with %s' makes one", address, modulePath)
	case problem.Error != "":
		return nil, errors.New(problem.Error)
	}
	return nil, fmt.Errorf("the Caddy at %s answered %s", address, response.Status)
}

const modulePath = "github.com/caddy-evergreen/evergreen"

// adminAddress is where the admin API is, by the rules of `caddy reload`.
func (s *shared) adminAddress() (string, error) {
	if s.address != "" {
		return s.address, nil
	}
	if s.config == "" {
		if s.adapter != "" {
			return "", errors.New("--adapter is of no use without --config")
		}
		return caddycmd.DetermineAdminAPIAddress("", nil, "", "")
	}
	config, _, _, err := caddycmd.LoadConfig(s.config, s.adapter)
	if err != nil {
		return "", fmt.Errorf("finding the admin API's address: %w", err)
	}
	var c struct {
		Admin struct {
			Disabled bool `json:"disabled"`
		} `json:"admin"`
	}
	if err := json.Unmarshal(config, &c); err == nil && c.Admin.Disabled {
		return "", fmt.Errorf("the admin API is off in %s (`admin off`), and these commands need it: see Caddy's log, which says what Evergreen does, or turn the admin API on", s.config)
	}
	address, err := caddycmd.DetermineAdminAPIAddress("", config, s.config, s.adapter)
	if err != nil {
		return "", fmt.Errorf("finding the admin API's address: %w", err)
	}
	return address, nil
}

func indent(body []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
		return nil, fmt.Errorf("Caddy's answer is not JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
