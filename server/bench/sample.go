package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A sample is a signed report, ready to be sent.
type sample struct {
	body           []byte
	key, signature string
}

// sampleReports makes n reports of different instances and traffic: each one a
// window that a real recorder counted, with the facts of a stock Caddy.
func sampleReports(n int) ([]sample, error) {
	modules, err := build.Modules(".")
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	const perInstance = 50
	var samples []sample
	var key ed25519.PrivateKey
	now := time.Now()
	for i := range n {
		if i%perInstance == 0 {
			if _, key, err = ed25519.GenerateKey(nil); err != nil {
				return nil, err
			}
		}
		window, err := sampleWindow(rng, now)
		if err != nil {
			return nil, err
		}
		b, err := proto.Marshal(&wire.Report{
			Dictionary: wire.DictionaryVersion, Number: uint64(i%perInstance + 1), Created: now.Unix(),
			Facts:   sampleFacts(rng, modules),
			Windows: []*wire.Window{window},
		})
		if err != nil {
			return nil, err
		}
		body := encoder.EncodeAll(b, nil)
		samples = append(samples, sample{
			body: body, key: hex.EncodeToString(key.Public().(ed25519.PublicKey)),
			signature: hex.EncodeToString(wire.Sign(key, wire.PurposeReport, body)),
		})
	}
	return samples, nil
}

// sampleWindow counts the requests of five minutes of a site, which make about
// two hundred counters.
func sampleWindow(rng *rand.Rand, now time.Time) (*wire.Window, error) {
	clock := now.Add(-10 * time.Minute)
	r, err := recorder.New(recorder.Options{Timing: wire.DefaultTiming, Now: func() time.Time { return clock }})
	if err != nil {
		return nil, err
	}
	for range 300 {
		r.Begin()
		r.Request(&recorder.Request{
			Protocol: wire.Value(2 + rng.IntN(3)), Method: []string{"GET", "GET", "GET", "HEAD", "POST"}[rng.IntN(5)],
			Status: []int{200, 200, 200, 304, 301, 404, 403, 500}[rng.IntN(8)], Transport: 2, Family: wire.Value(1 + rng.IntN(2)), Role: 1,
			UserAgent:    fmt.Sprintf("Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%[1]d.0", 130+rng.IntN(16)),
			RequestBytes: rng.Int64N(2000), ResponseBytes: int64(rng.ExpFloat64() * 20_000),
			FirstByte: time.Duration(rng.ExpFloat64() * 3e6), Duration: time.Duration(rng.ExpFloat64() * 9e6),
		})
	}
	windows := r.Close(now)
	return windows[0], nil
}

func sampleFacts(rng *rand.Rand, modules []*wire.Module) *wire.Facts {
	return &wire.Facts{
		CaddyVersion: []string{"v2.11.3", "v2.11.8", "v2.11.9"}[rng.IntN(3)], GoVersion: "go1.26.8", EvergreenVersion: "v0.1.0",
		Os: "linux", Arch: []string{"amd64", "arm64"}[rng.IntN(2)], Kernel: "linux-6", Cpus: uint32(1 + rng.IntN(16)),
		CpuFeatures: []string{"aes", "avx", "avx2", "bmi2", "pclmulqdq", "sha"}, Memory: "2G-4G", Container: "none", Init: "systemd",
		Installation: "dpkg", UptimeSeconds: rng.Uint64N(1e7), Sites: 3, Listeners: 2, Servers: 2, Protocols: []string{"h1", "h2", "h3"},
		ConfigAdapter: "caddyfile", Deployment: "production", Modules: modules,
		Features: []string{"automatic_https", "http.handlers.encode", "http.handlers.file_server", "http.handlers.reverse_proxy", "tls.issuance.acme"},
	}
}
