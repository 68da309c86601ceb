package evergreen

import (
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

var (
	upstreamNone   = wire.UpstreamFailure.Value("no_upstream")
	upstreamStatus = wire.UpstreamFailure.Value("status_5xx")
	handlerProxy   = wire.HandlerModule.Value("reverse_proxy")
)

// upstreamFailures are the kinds of errors that an upstream's failure can have.
var upstreamFailures = map[wire.Value]wire.Value{
	kindRefused:     wire.UpstreamFailure.Value("refused"),
	kindTimeout:     wire.UpstreamFailure.Value("timeout"),
	kindDNS:         wire.UpstreamFailure.Value("dns"),
	kindUnreachable: wire.UpstreamFailure.Value("unreachable"),
	kindReset:       wire.UpstreamFailure.Value("reset"),
	kindClosed:      wire.UpstreamFailure.Value("closed"),
	kindTLS:         wire.UpstreamFailure.Value("tls"),
	kindCertificate: wire.UpstreamFailure.Value("tls"),
	kindNotFound:    wire.UpstreamFailure.Value("not_found"),
	kindDescriptors: wire.UpstreamFailure.Value("descriptors"),
}

// handlerModules are Caddy's handlers by the package whose code made an error.
var handlerModules = map[string]wire.Value{
	"acmeserver":   wire.HandlerModule.Value("acme_server"),
	"caddyauth":    wire.HandlerModule.Value("authentication"),
	"encode":       wire.HandlerModule.Value("encode"),
	"fastcgi":      wire.HandlerModule.Value("fastcgi"),
	"fileserver":   wire.HandlerModule.Value("file_server"),
	"headers":      wire.HandlerModule.Value("headers"),
	"intercept":    wire.HandlerModule.Value("intercept"),
	"maphandler":   wire.HandlerModule.Value("map"),
	"push":         wire.HandlerModule.Value("push"),
	"requestbody":  wire.HandlerModule.Value("request_body"),
	"reverseproxy": handlerProxy,
	"rewrite":      wire.HandlerModule.Value("rewrite"),
	"templates":    wire.HandlerModule.Value("templates"),
	"tracing":      wire.HandlerModule.Value("tracing"),
	"caddyhttp":    wire.HandlerModule.Value("core"),
}

// handlerFailed counts an error that the routes returned.
func handlerFailed(rec *recorder.Recorder, err error) {
	defer func() { _ = recover() }() // never the request's failure
	var he caddyhttp.HandlerError
	if !errors.As(err, &he) {
		he.StatusCode, he.Err = http.StatusInternalServerError, err
	}
	module := handlerOf(he.Trace)
	rec.Add(wire.CaddyHandlerErrors, wire.Dims{module, recorder.StatusClassOf(he.StatusCode)}, 1)
	kind := kindOf(he.Err)
	if module == handlerProxy {
		if failure, failed := upstreamFailure(&he, kind); failed {
			rec.Add(wire.CaddyUpstreamFailures, wire.Dims{failure}, 1)
		}
	}
	if kind == kindDescriptors {
		use := useHandler
		if module == handlerProxy {
			use = useUpstream
		}
		rec.Add(wire.CaddyNoDescriptors, wire.Dims{use}, 1)
	}
}

// handlerOf finds the module by the place in the code where an error was made a
// caddyhttp.HandlerError, such as "reverseproxy.statusError (reverseproxy.go:1)".
func handlerOf(trace string) wire.Value {
	pkg, place, _ := strings.Cut(trace, ".")
	if pkg == "caddyhttp" && strings.HasPrefix(place, "StaticError.") {
		return wire.HandlerModule.Value("error")
	}
	return handlerModules[pkg]
}

// upstreamFailure tells why a reverse proxy failed; false if the client gave up.
func upstreamFailure(he *caddyhttp.HandlerError, kind wire.Value) (failure wire.Value, failed bool) {
	var op *net.OpError
	switch {
	case he.StatusCode == 499 || kind == kindCanceled:
		return 0, false
	case strings.HasPrefix(he.Trace, "reverseproxy.(*Handler).proxyLoopIteration"):
		return upstreamNone, true
	case kind == wire.Other && he.StatusCode >= 500 && he.StatusCode != http.StatusBadGateway && !errors.As(he.Err, &op):
		return upstreamStatus, true // an answer that was to be tried again, and was the last
	}
	return upstreamFailures[kind], true
}

// answered counts an answer of 5xx that came from, or after, an upstream.
func answered(rec *recorder.Recorder, status int, r *http.Request) {
	if status < 500 {
		return
	}
	defer func() { _ = recover() }()
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl == nil {
		return
	}
	// Set when an upstream has answered, whatever it did.
	if _, ok := repl.Get("http.reverse_proxy.upstream.latency"); ok {
		rec.Add(wire.CaddyUpstreamFailures, wire.Dims{upstreamStatus}, 1)
	}
}
