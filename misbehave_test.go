package evergreen

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func registerMisbehaveDirective() {
	httpcaddyfile.RegisterHandlerDirective("misbehave", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		m := new(misbehave)
		h.Next()
		if !h.AllArgs(&m.How) {
			return nil, h.ArgErr()
		}
		return m, nil
	})
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}
