package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/goenv"
	"github.com/caddy-evergreen/evergreen/wire"
)

// ProxyVersions asks a module proxy for newest versions, and remembers them
// for a while. Go's is that of the Maker's own toolchain.
type ProxyVersions struct {
	// Proxy is a list as GOPROXY; the first address that is HTTP is asked. ""
	// is Go's own.
	Proxy  string
	Go     string // toolchain: "go1.26.11"
	Client *http.Client

	mu    sync.Mutex
	known map[string]knownVersion
}

type knownVersion struct {
	version string
	until   time.Time
}

const (
	versionsFor     = 10 * time.Minute
	maxKnown        = 4096
	versionsTimeout = 10 * time.Second
)

// Latest is a module's newest version, from the proxy's @latest.
func (v *ProxyVersions) Latest(ctx context.Context, path string) (string, error) {
	if path == wire.Toolchain {
		return v.Go, nil
	}
	escaped, err := module.EscapePath(path)
	if err != nil {
		return "", err
	}
	v.mu.Lock()
	k, ok := v.known[path]
	v.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return k.version, nil
	}
	version, err := v.fetch(ctx, escaped)
	if err != nil {
		return "", fmt.Errorf("asking the module proxy for the newest %s: %w", path, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil || len(v.known) >= maxKnown {
		v.known = map[string]knownVersion{}
	}
	v.known[path] = knownVersion{version, time.Now().Add(versionsFor)}
	return version, nil
}

func (v *ProxyVersions) fetch(ctx context.Context, escaped string) (string, error) {
	base := ""
	for _, p := range strings.FieldsFunc(cmp.Or(v.Proxy, goenv.Get("GOPROXY")), func(r rune) bool { return r == ',' || r == '|' }) {
		if p = strings.TrimSpace(p); strings.HasPrefix(p, "https://") || strings.HasPrefix(p, "http://") {
			base = strings.TrimSuffix(p, "/")
			break
		}
	}
	if base == "" {
		return "", errors.New("no module proxy is known: set GOPROXY")
	}
	ctx, cancel := context.WithTimeout(ctx, versionsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/"+escaped+"/@latest", nil)
	if err != nil {
		return "", err
	}
	client := v.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", errors.New("it answers " + resp.Status)
	}
	var info struct{ Version string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&info); err != nil {
		return "", fmt.Errorf("reading its answer: %w", err)
	}
	if !semver.IsValid(info.Version) || len(info.Version) > maxVersion {
		return "", fmt.Errorf("it answers the version %.100q", info.Version)
	}
	return info.Version, nil
}
