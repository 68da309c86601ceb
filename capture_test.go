package evergreen

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A feed is a connection from which one first flight is read, in the two reads
// that crypto/tls makes of it.
type feed struct {
	net.Conn
	parts [2][]byte
	n     int
}

func newFeed(b []byte) *feed {
	return &feed{parts: [2][]byte{b[:min(len(b), 517)], b[min(len(b), 517):]}}
}

func (f *feed) Read(b []byte) (int, error) {
	if f.n == len(f.parts) {
		return 0, io.EOF
	}
	n := copy(b, f.parts[f.n])
	f.n++
	return n, nil
}

// capture is all that one connection costs: seen, parsed, fingerprinted, judged and counted.
func capture(rec *recorder.Recorder, f *feed, buf []byte, client *clients.Client) glimpse {
	t := &tap{Conn: f}
	for range f.parts {
		_, _ = t.Read(buf)
	}
	s, p := t.take()
	g := countHello(rec, &p.hello, s.hello == helloBroken, client)
	p.free()
	return g
}

func BenchmarkCapture(b *testing.B) {
	rec, err := recorder.New(recorder.Options{})
	if err != nil {
		b.Fatal(err)
	}
	f, buf := newFeed(helloOf(b)), make([]byte, 4096)
	client := rec.Classify("Go-http-client/2.0")
	b.ReportAllocs()
	for b.Loop() {
		f.n = 0
		capture(rec, f, buf, &client)
	}
}

// What a connection's reads cost after the handshake.
func BenchmarkTappedRead(b *testing.B) {
	buf := make([]byte, 16)
	for _, tapped := range []bool{false, true} {
		name, c := "plain", net.Conn(endless{})
		if tapped {
			t := &tap{Conn: c}
			t.done.Store(true)
			name, c = "tapped", t
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = c.Read(buf)
			}
		})
	}
}

type endless struct{ net.Conn }

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// Handshakes over loopback with and without the tap, in turns: op is one of
// each, and what counts is by how much the medians differ.
func BenchmarkHandshake(b *testing.B) {
	pair, err := localhostPEM()
	if err != nil {
		b.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(pair["certificate"].(string)), []byte(pair["key"].(string)))
	if err != nil {
		b.Fatal(err)
	}
	p, err := newProcess(settings{Timing: wire.DefaultTiming})
	if err != nil {
		b.Fatal(err)
	}
	s := &site{app: &App{proc: p}, rec: p.rec, role: roleSite}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	var addrs [2]string
	for tapped := range addrs {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		addrs[tapped] = ln.Addr().String()
		go shakeHands(ln, config, s, tapped == 1)
	}
	var times [2][]float64
	for turn := 0; b.Loop(); turn++ {
		for i := range addrs {
			tapped := (turn + i) % 2 // each is first as often as second
			start := time.Now()
			c, err := tls.Dial("tcp", addrs[tapped], insecure)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = c.Read(make([]byte, 1))
			times[tapped] = append(times[tapped], float64(time.Since(start)))
			c.Close()
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	plain, tapped := times[0][len(times[0])/2], times[1][len(times[1])/2]
	b.ReportMetric(plain, "plain-ns")
	b.ReportMetric(tapped, "tapped-ns")
	b.ReportMetric(100*(tapped/plain-1), "%overhead")
}

// shakeHands answers each connection's handshake with one byte.
func shakeHands(ln net.Listener, config *tls.Config, site *site, tapped bool) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		var t *tap
		if tapped {
			t = &tap{Conn: c}
			c = t
		}
		s := tls.Server(c, config)
		err = s.Handshake()
		state := s.ConnectionState() // as net/http asks for it, too
		if err == nil && tapped {
			(&conn{site: site, net: s, tap: t}).firstRequest(&state, "Go-http-client/2.0", false)
		}
		_, _ = s.Write([]byte{1})
		s.Close()
	}
}

// Connections leave nothing behind, and one that waits for its first request holds 2 KB at most.
func TestCaptureMemory(t *testing.T) {
	rec, err := recorder.New(recorder.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hello, buf := helloOf(t), make([]byte, 4096)
	f := newFeed(hello)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	client := clients.Client{}
	capture(rec, f, buf, &client)
	before := heap()
	for range 100_000 {
		f.n = 0
		capture(rec, f, buf, &client)
	}
	if grown := heap() - before; grown > 256<<10 {
		t.Errorf("100,000 connections left %d bytes", grown)
	}
	taps := make([]*tap, 2000)
	before = heap()
	for i := range taps {
		f.n = 0
		taps[i] = &tap{Conn: f}
		for range f.parts {
			_, _ = taps[i].Read(buf)
		}
	}
	each := (heap() - before) / int64(len(taps))
	runtime.KeepAlive(taps)
	t.Logf("%d bytes for each that waits", each)
	if each > 2048 {
		t.Errorf("a connection that waits for its first request holds %d bytes", each)
	}
	if taps[0].sight.hello != helloWhole || taps[0].p.hello.Transport != clienthello.TCP {
		t.Error("no hello was seen")
	}
}

func helloOf(t testing.TB) []byte { return helloBytes(t, insecure) }
