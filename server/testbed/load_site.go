package testbed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

// A Backend is the application behind LoadSite's proxy: it echoes WebSockets
// and answers an upload with its SHA-256.
type Backend struct {
	Addr   string
	server http.Server
}

// StartBackend listens on loopback until Close.
func StartBackend() (*Backend, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Backend{Addr: l.Addr().String()}
	b.server.Handler, b.server.ReadHeaderTimeout = BackendHandler(), 10*time.Second
	go func() { _ = b.server.Serve(l) }()
	return b, nil
}

// Close ends it and all connections to it.
func (b *Backend) Close() { _ = b.server.Close() }

// BackendHandler is what a Backend serves.
func BackendHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.Server{Handler: func(ws *websocket.Conn) { _, _ = io.Copy(ws, ws) }})
	mux.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		if _, err := io.Copy(h, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, hex.EncodeToString(h.Sum(nil)))
	})
	return mux
}

// WriteLarge makes the file that LoadSite serves as /large, in the folder.
func WriteLarge(folder string, size int64) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(folder, "large"))
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, Large(size)); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// A LoadSiteConfig is what LoadSite is made of.
type LoadSiteConfig struct {
	Ports   Ports
	Folder  string   // has the file of WriteLarge
	Backend string   // a Backend's address
	Globals []string // further lines of the global options
	Lines   []string // further lines of the site
	Sites   string   // further sites
}

// LoadSite is the Caddyfile of the site that a Load is sent to.
func LoadSite(c LoadSiteConfig) string {
	return "{\n" + c.Ports.Globals() + strings.Join(append(c.Globals, ""), "\n") + "}\n" + fmt.Sprintf(`
(load) {
	%s
	respond / %q 200
	handle /large {
		root * %q
		file_server
	}
	handle /upload {
		reverse_proxy %[4]s
	}
	handle /ws {
		reverse_proxy %[4]s
	}
}
localhost {
	import load
}
http://localhost {
	import load
}
`, strings.Join(c.Lines, "\n\t"), loadAnswer, c.Folder, c.Backend) + c.Sites
}
