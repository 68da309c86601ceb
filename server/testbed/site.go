package testbed

import "strings"

// Site is the Caddyfile of a small site with something of everything: pages,
// an API, redirects, errors, slow and large answers, a proxy to nowhere. The
// Caddyfile has no word of Evergreen in it. extra are further lines of the site.
func Site(p Ports, extra ...string) string {
	return "{\n" + p.Globals() + "}\n" + `
localhost {
	encode zstd gzip
	respond / "Hello. This is a small site." 200
	respond /about "What there is to say." 200
	respond /api/items ` + "`" + `{"items":[1,2,3]}` + "`" + ` 200
	respond /teapot "I'm a teapot." 418
	respond /login "no" 401
	respond /broken "Something is wrong." 500
	redir /old /about permanent
	handle /away {
		reverse_proxy 127.0.0.1:9 {
			lb_try_duration 0s
		}
	}
	handle /large {
		header Content-Type text/plain
		respond "{http.request.uuid} ` + filler + `"
	}
	respond /upload 204
` + strings.Join(extra, "\n") + `
	respond 404
}
`
}

const filler = "Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod tempor invidunt ut labore et dolore magna aliquyam erat, sed diam voluptua. At vero eos et accusam et justo duo dolores et ea rebum."
