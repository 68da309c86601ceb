//go:build e2e

package programs

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tap keeps what a client sent first.
type tap struct {
	net.Conn
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	if c.buf.Len() < 1<<14 {
		c.buf.Write(b[:n])
	}
	c.mu.Unlock()
	return n, err
}

type tapListener struct{ net.Listener }

func (l tapListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tap{Conn: c}, nil
}

type tapKey struct{}

// TestE2ECapture drives every browser through every interceptor, and every tool,
// to a TLS server and writes what arrived as the JSON lines that `evergreen hello` reads, to the
// file that EVERGREEN_CAPTURE names.
func TestE2ECapture(t *testing.T) {
	ca, err := NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leaf, _, err := ca.Leaf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		Name  string `json:"name"`
		Hello string `json:"hello"`
		UA    string `json:"user_agent"`
	}
	var mu sync.Mutex
	got := map[string]seen{}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if tc, ok := c.(*tls.Conn); ok {
				c = tc.NetConn()
			}
			return context.WithValue(ctx, tapKey{}, c)
		},
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"h2", "http/1.1"}},
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			c, ok := r.Context().Value(tapKey{}).(*tap)
			if !ok {
				return
			}
			c.mu.Lock()
			b := c.buf.Bytes()
			hello := ""
			if len(b) > 9 && b[0] == 22 {
				n := 4 + int(b[6])<<16 + int(b[7])<<8 + int(b[8])
				hello = hex.EncodeToString(b[5:min(len(b), 5+n)])
			}
			c.mu.Unlock()
			name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // git appends to it
			mu.Lock()
			defer mu.Unlock()
			if _, again := got[name]; !again {
				got[name] = seen{name, hello, r.UserAgent()}
			}
		}),
	}
	t.Cleanup(func() { _ = srv.Close() })
	go func() { _ = srv.ServeTLS(tapListener{ln}, "", "") }()

	for _, i := range Interceptors() {
		ctx, cancel := context.WithCancel(t.Context())
		route, err := i.Start(ctx, t.TempDir(), ca, ln.Addr().String())
		if err != nil {
			cancel()
			t.Errorf("%s: %v", i.Name, err)
			continue
		}
		for _, b := range Browsers() {
			name := b.Name + "-" + i.Name
			dir, err := os.MkdirTemp("", "browser-")
			if err != nil {
				t.Fatal(err)
			}
			err = b.Open(ctx, dir, ca, Page{Route: route, Path: "/" + name})
			os.RemoveAll(dir)
			mu.Lock()
			s := got[name]
			mu.Unlock()
			if err != nil || s.Hello == "" || s.UA == "" {
				t.Errorf("%s: %v; seen %+v", name, err, s)
			}
		}
		cancel()
	}
	for _, c := range Tools() {
		if err := c.Get(t.Context(), t.TempDir(), Request{CAFile: ca.CertFile, Port: portOf(ln.Addr().String()), Path: "/" + c.Name}); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		mu.Lock()
		if got[c.Name].Hello == "" {
			t.Errorf("%s: no hello seen", c.Name)
		}
		mu.Unlock()
	}
	if file := os.Getenv("EVERGREEN_CAPTURE"); file != "" {
		var out bytes.Buffer
		for _, s := range got {
			b, _ := json.Marshal(s)
			out.Write(append(b, '\n'))
		}
		if err := os.WriteFile(filepath.Clean(file), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
