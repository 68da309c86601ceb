package evergreen

import (
	"io"
	"net/http"
	"path"
	"strings"
	"sync/atomic"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A meter counts what a download brings, and knows what was asked for last. It
// is for requests one after the other.
type meter struct {
	next  http.RoundTripper
	bytes atomic.Int64
	last  atomic.Pointer[string] // path of the file that came last
}

func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	next := m.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if strings.Contains(r.URL.Path, "/targets/") {
		m.last.Store(&r.URL.Path)
	}
	resp.Body = &meteredBody{resp.Body, &m.bytes}
	return resp, nil
}

type meteredBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// method is how the executable came, by the file that was asked for last: the
// name of a file in the repository begins with its hash.
func (m *meter) method(t wire.Target) string {
	last := m.last.Load()
	if last == nil {
		return ""
	}
	sum, _, _ := strings.Cut(path.Base(*last), ".")
	for _, f := range t.Files {
		if f.SHA256 == sum {
			return f.Method
		}
	}
	return ""
}
