package release

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// toolchainModule is where the toolchain lies in a module proxy, in versions
// such as v0.0.1-go1.26.11.linux-amd64.
const (
	toolchainModule = "golang.org/toolchain"
	toolchainPrefix = "v0.0.1-"
)

// Limits of what a proxy answers.
const (
	maxList = 8 << 20
	maxInfo = 64 << 10
	maxMod  = 2 << 20
	// maxVersions are kept of a module, the highest.
	maxVersions = 500
)

// A proxy is a module proxy (https://go.dev/ref/mod#goproxy-protocol).
type proxy struct {
	url      *url.URL
	client   *http.Client
	platform string // "linux-amd64", of the toolchain
}

// ProxyOf is the first URL in a value of GOPROXY; "" if it has none.
func ProxyOf(goproxy string) string {
	for p := range strings.FieldsFuncSeq(goproxy, func(r rune) bool { return r == ',' || r == '|' }) {
		if strings.HasPrefix(p, "https://") || strings.HasPrefix(p, "http://") {
			return p
		}
	}
	return ""
}

func newProxy(where string, client *http.Client) (*proxy, error) {
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("the module proxy's URL can't be understood: it should be one of those in `go env GOPROXY`")
	}
	return &proxy{url: u, client: client, platform: hostPlatform()}, nil
}

// validators make a question conditional.
type validators struct{ etag, modified string }

// A refusal is an answer that is no answer.
type refusal struct {
	status int
	// after is when the server wants to be asked again; 0: it does not say.
	after time.Duration
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the module proxy answers %d %s", r.status, http.StatusText(r.status))
}

// absent tells whether the proxy has not, or will not give, what was asked
// for: asking again soon is no use, but asking for something else may be.
func absent(err error) bool {
	var r *refusal
	return errors.As(err, &r) && (r.status == http.StatusNotFound || r.status == http.StatusGone || r.status == http.StatusForbidden)
}

var errNotModified = errors.New("it is as it was")

func (p *proxy) get(ctx context.Context, file string, limit int64, have validators) ([]byte, validators, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url.JoinPath(file).String(), nil)
	if err != nil {
		return nil, validators{}, err
	}
	req.Header.Set("User-Agent", "evergreen")
	// What the proxy has not fetched yet, it need not fetch for us at once.
	if have.etag != "" {
		req.Header.Set("If-None-Match", have.etag)
	}
	if have.modified != "" {
		req.Header.Set("If-Modified-Since", have.modified)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, validators{}, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && have != validators{}:
		return nil, have, errNotModified
	case resp.StatusCode != http.StatusOK:
		r := &refusal{status: resp.StatusCode}
		if n, err := strconv.ParseInt(resp.Header.Get("Retry-After"), 10, 32); err == nil && n > 0 {
			r.after = time.Duration(n) * time.Second
		}
		return nil, validators{}, r
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, validators{}, err
	}
	if int64(len(body)) > limit {
		return nil, validators{}, fmt.Errorf("the module proxy's answer has more than %d bytes", limit)
	}
	return body, validators{bounded(resp.Header.Get("ETag")), bounded(resp.Header.Get("Last-Modified"))}, nil
}

func bounded(s string) string {
	if len(s) > wire.MaxFactString {
		return ""
	}
	return s
}

// folder is where a path lies in the proxy.
func folder(path string) (string, error) {
	if path == wire.Toolchain {
		path = toolchainModule
	}
	escaped, err := module.EscapePath(path)
	return escaped + "/@v/", err
}

// list answers errNotModified if the list is as it was. Versions are checked,
// in no order.
func (p *proxy) list(ctx context.Context, path string, have validators) ([]string, validators, error) {
	dir, err := folder(path)
	if err != nil {
		return nil, validators{}, err
	}
	body, now, err := p.get(ctx, dir+"list", maxList, have)
	if err != nil {
		return nil, now, err
	}
	return parseList(path, p.platform, body), now, nil
}

// parseList takes from a list what are versions of path. Proxies list more
// than they should: pseudo-versions, and what is not canonical.
func parseList(path, platform string, body []byte) []string {
	var vs []string
	seen := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		v, _, _ := strings.Cut(lines.Text(), " ") // some add the time
		if path == wire.Toolchain {
			v, _ = toolchainOf(v, platform)
		} else if module.IsPseudoVersion(v) {
			continue
		}
		if checkVersion(path, v) != nil || seen[v] {
			continue
		}
		seen[v] = true
		vs = append(vs, v)
	}
	return vs
}

// toolchainOf is "go1.26.11" for v0.0.1-go1.26.11.linux-amd64.
func toolchainOf(v, platform string) (string, bool) {
	v, ok1 := strings.CutPrefix(v, toolchainPrefix)
	v, ok2 := strings.CutSuffix(v, "."+platform)
	return v, ok1 && ok2
}

// latest is the version that `go get` would take if there is no list.
func (p *proxy) latest(ctx context.Context, path string) (string, error) {
	dir, err := folder(path)
	if err != nil {
		return "", err
	}
	body, _, err := p.get(ctx, strings.TrimSuffix(dir, "@v/")+"@latest", maxInfo, validators{})
	if err != nil {
		return "", err
	}
	v, err := parseInfo(body)
	if err != nil {
		return "", err
	}
	return v, checkVersion(path, v)
}

func parseInfo(body []byte) (string, error) {
	var info struct{ Version string }
	if err := json.Unmarshal(body, &info); err != nil || info.Version == "" {
		return "", errors.New("the module proxy's answer has no version")
	}
	return info.Version, nil
}

// has tells whether the proxy has exactly this version.
func (p *proxy) has(ctx context.Context, path, version string) (bool, error) {
	body, err := p.file(ctx, path, version, ".info", maxInfo)
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	got, err := parseInfo(body)
	if path == wire.Toolchain {
		got, _ = toolchainOf(got, p.platform)
	}
	return got == version, err
}

func (p *proxy) file(ctx context.Context, path, version, suffix string, limit int64) ([]byte, error) {
	dir, err := folder(path)
	if err != nil {
		return nil, err
	}
	if path == wire.Toolchain {
		version = toolchainPrefix + version + "." + p.platform
	}
	v, err := module.EscapeVersion(version)
	if err != nil {
		return nil, err
	}
	body, _, err := p.get(ctx, dir+v+suffix, limit, validators{})
	return body, err
}

// highest is the highest of versions that is not before a release; "" if there
// is none.
func highest(path string, versions []string) (v string) {
	for _, w := range versions {
		if !isPrerelease(path, w) && (v == "" || Compare(path, w, v) > 0) {
			v = w
		}
	}
	return v
}

// number splits vX.Y.Z or goX.Y.Z.
func number(path, v string) (prefix string, minor, patch int, ok bool) {
	before := "v"
	if path == wire.Toolchain {
		before = "go"
	} else {
		v = strings.TrimSuffix(semver.Canonical(v), semver.Prerelease(v))
	}
	parts := strings.Split(strings.TrimPrefix(v, before), ".")
	if path == wire.Toolchain && len(parts) == 2 {
		parts = append(parts, "0")
	}
	if len(parts) != 3 {
		return "", 0, 0, false
	}
	minor, err1 := strconv.Atoi(parts[1])
	patch, err2 := strconv.Atoi(parts[2])
	return before + parts[0] + ".", minor, patch, err1 == nil && err2 == nil
}
