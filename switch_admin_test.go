package evergreen

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

var withoutContext caddy.Context

// Who asks the admin endpoint between two executables waits in its queue, and is
// answered by the next one's. Here one process is both.
func TestAdminQueueIsInherited(t *testing.T) {
	if runtime.GOOS != "linux" {
		if _, err := listeningOn(nil); err == nil {
			t.Error("a socket is held where none can be handed on")
		}
		return
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			_, c := newSite(t, "", `respond "fine"`)
			address := "127.0.0.1:" + freePort(t)
			listen := address
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "a.sock")
				listen = "unix/" + address
			}
			c["admin"].(map[string]any)["listen"] = listen
			loadFile(t, c)
			live, err := liveConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ask := func() error {
				tr := &http.Transport{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) { return net.Dial(network, address) }}
				cl := &http.Client{Transport: tr, Timeout: time.Minute}
				resp, err := cl.Get("http://127.0.0.1/evergreen/switch")
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				_, err = io.Copy(io.Discard, resp.Body)
				return err
			}
			if network == "tcp" {
				// Host names are checked there.
				ask = func() error {
					resp, err := http.Get("http://" + address + "/evergreen/switch")
					if err != nil {
						return err
					}
					return resp.Body.Close()
				}
			}
			sw := newSwitchServer(live)
			if sw.admin, err = holdAdmin(); err != nil {
				t.Fatal(err)
			}
			if err := sw.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := sw.lastWords(nil); err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			go func() { answered <- ask() }()
			select {
			case err := <-answered:
				t.Fatalf("nobody serves, and yet it is answered (%v)", err)
			case <-time.After(50 * time.Millisecond):
			}
			fd, err := inheritable(sw.admin.place) // as by exec
			if err != nil {
				t.Fatal(err)
			}
			if err := sw.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			ln, err := inheritedListener(fd)
			if err != nil {
				t.Fatal(err)
			}
			(&heldAdmin{Descriptor: fd, Network: sw.admin.Network, Address: sw.admin.Address}).inherit(ln)
			if err := <-answered; err != nil {
				t.Errorf("who has waited: %v", err)
			}
			if err := ask(); err != nil {
				t.Errorf("who comes later: %v", err)
			}
		})
	}
}

// A reload in the middle of a switch leaves no socket behind at which nobody
// accepts.
func TestAdminAfterReload(t *testing.T) {
	_, c := newSite(t, "", `respond "fine"`)
	address := "127.0.0.1:" + freePort(t)
	c["admin"].(map[string]any)["listen"] = address
	loadFile(t, c)
	live, err := liveConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sw := newSwitchServer(live)
	if sw.admin, err = holdAdmin(); err != nil {
		if runtime.GOOS == "linux" {
			t.Fatal(err)
		}
		sw.admin = nil
	}
	if err := sw.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sw.lastWords(func() error { return errReloaded }); err == nil {
		t.Fatal("the last words were not given up")
	}
	if err := sw.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	cl := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 50 { // half of them would find the socket that was left
		resp, err := cl.Get("http://" + address + "/evergreen/switch")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}

func TestInheritedAdmin(t *testing.T) {
	for _, bad := range []string{``, `null`, `{}`, `[]`, `{"descriptor":2,"network":"tcp","address":"x"}`, `{"descriptor":9,"network":"udp","address":"x"}`, `{"descriptor":9,"network":"tcp"}`} {
		if h := inheritedAdmin([]byte(bad)); h != nil {
			t.Errorf("%s is taken as %+v", bad, h)
		}
	}
}

// A number that is no listening socket is left alone: it may be anything.
func TestInheritedListenerIsOne(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd := int(r.Fd())
	if ln, err := inheritedListener(fd); err == nil {
		t.Errorf("a pipe is taken as the listener %v", ln.Addr())
	}
	closeInherited(fd)
	go w.Write([]byte("x")) //nolint:errcheck // seen by the reader
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Errorf("the pipe was closed: %v", err)
	}
}
