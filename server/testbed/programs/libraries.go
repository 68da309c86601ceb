package programs

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/elazarl/goproxy"
	"github.com/google/martian/v3"
	martianlog "github.com/google/martian/v3/log"
	"github.com/google/martian/v3/mitm"
)

// Both are proxies for HTTP that take a CONNECT apart, as their users run them:
// as libraries, with Go's own TLS to the server.

func startGoproxy(ctx context.Context, _ string, ca *Authority, addr string) (Route, error) {
	pair, err := ca.pair()
	if err != nil {
		return Route{}, err
	}
	proxy := goproxy.NewProxyHttpServer()
	proxy.Logger = silent{}
	proxy.Tr = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // what interceptors do
	action := &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: goproxy.TLSConfigFromCA(&pair)}
	proxy.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		return action, host
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Route{}, err
	}
	srv := &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(ln) }()
	return Route{Proxy: ln.Addr().String(), Addr: addr}, nil
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func startMartian(ctx context.Context, _ string, ca *Authority, addr string) (Route, error) {
	martianlog.SetLevel(martianlog.Silent)
	config, err := mitm.NewConfig(ca.Cert, ca.Key)
	if err != nil {
		return Route{}, err
	}
	config.SetValidity(24 * time.Hour)
	proxy := martian.NewProxy()
	proxy.SetMITM(config)
	proxy.SetRoundTripper(&http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}) //nolint:gosec // what interceptors do
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Route{}, err
	}
	context.AfterFunc(ctx, func() {
		_ = ln.Close()
		proxy.Close()
	})
	go func() { _ = proxy.Serve(ln) }()
	return Route{Proxy: ln.Addr().String(), Addr: addr}, nil
}
