// Package badplugin is a Caddy plugin that does nothing in its first version
// and harm in its second: which, the variable BADPLUGIN says. It is how tests
// come to executables that are built and signed as any other, and are bad.
package badplugin

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// bad is true in the second version.
const bad = false

// behaviour is a word, and what it is done after, or to: "exit",
// "hang", "panic", "panic-after 20s", "broken-site two.localhost [20s]", "no-h3",
// "leak", "leak-after 20s", "lose", "crash-after 20s", "slow-after 20s".
func behaviour() (word, arg string) {
	if !bad {
		return "", ""
	}
	word, arg, _ = strings.Cut(os.Getenv("BADPLUGIN"), " ")
	return word, arg
}

func init() {
	caddy.RegisterModule(Handler{})
	if word, _ := behaviour(); word != "lose" {
		caddy.RegisterModule(Kept{})
	}
	httpcaddyfile.RegisterHandlerDirective("badplugin", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return new(Handler), nil })
	httpcaddyfile.RegisterDirectiveOrder("badplugin", httpcaddyfile.Before, "respond")
}

// Kept is a module that one of the bad versions has lost.
type Kept struct{}

func (Kept) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "badplugin.kept", New: func() caddy.Module { return new(Kept) }}
}

// Handler is the directive badplugin.
type Handler struct{}

func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.badplugin", New: func() caddy.Module { return new(Handler) }}
}

func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return nil }

var (
	began = time.Now()
	once  sync.Once
	eaten [][]byte
)

// Provision runs at `caddy validate`, in a rehearsal and at a start.
func (h *Handler) Provision(caddy.Context) error {
	switch word, arg := behaviour(); word {
	case "exit":
		fmt.Fprintln(os.Stderr, "badplugin: giving up")
		os.Exit(3)
	case "hang":
		select {}
	case "leak", "leak-after":
		once.Do(func() {
			go func() {
				for word == "leak-after" && !after(arg) {
					time.Sleep(100 * time.Millisecond)
				}
				for {
					b := make([]byte, 4<<20)
					for i := 0; i < len(b); i += 4096 {
						b[i] = 1
					}
					eaten = append(eaten, b)
					time.Sleep(20 * time.Millisecond)
				}
			}()
		})
	}
	return nil
}

// after is whether the process is older than arg: a rehearsal never is.
func after(arg string) bool {
	d, err := time.ParseDuration(arg)
	return err == nil && time.Since(began) >= d
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	switch word, arg := behaviour(); word {
	case "panic":
		panic("badplugin: a request")
	case "panic-after":
		if after(arg) {
			panic("badplugin: a request, after " + arg)
		}
	case "crash-after":
		if after(arg) {
			// A panic that no server recovers from.
			go panic("badplugin: in a goroutine of its own, after " + arg)
		}
	case "broken-site":
		host, wait, _ := strings.Cut(arg, " ")
		if strings.HasPrefix(r.Host, host) && (wait == "" || after(wait)) {
			return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("badplugin: %s is broken", arg))
		}
	case "no-h3":
		if r.ProtoMajor == 3 {
			panic(http.ErrAbortHandler)
		}
	case "slow-after":
		if after(arg) {
			time.Sleep(2 * time.Second)
		}
	}
	return next.ServeHTTP(w, r)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
