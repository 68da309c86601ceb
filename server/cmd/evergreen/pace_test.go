package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// deadlines notes what is written, and the time that is given for it.
type deadlines struct {
	http.ResponseWriter
	sizes       []int
	write, read []time.Time
}

func (d *deadlines) Header() http.Header { return http.Header{} }
func (d *deadlines) Write(b []byte) (int, error) {
	d.sizes = append(d.sizes, len(b))
	return len(b), nil
}
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = append(d.write, t); return nil }
func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = append(d.read, t); return nil }

func TestPace(t *testing.T) {
	d := &deadlines{}
	w := &pacedWriter{ResponseWriter: d, pace: pace{100, time.Minute, time.Hour}, began: time.Now()}
	for _, n := range []int{10, 80, 30, 200, 5} {
		if k, err := w.Write(make([]byte, n)); k != n || err != nil {
			t.Fatal(k, err)
		}
	}
	if diff := cmp.Diff([]int{10, 80, 10, 20, 80, 100, 20, 5}, d.sizes); diff != "" {
		t.Error("parts end where time is given anew: " + diff)
	}
	if diff := cmp.Diff(d.write, d.read); diff != "" || len(d.write) != 3 {
		t.Errorf("time was given %d times for 3 parts: %s", len(d.write), diff)
	}
	for _, at := range d.write {
		if left := time.Until(at); left <= 0 || left > time.Minute {
			t.Errorf("%s are given", left)
		}
	}

	d.write = nil
	w.began = time.Now().Add(-time.Hour)
	if _, err := w.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if time.Until(d.write[0]) > 0 {
		t.Error("an answer goes on past its longest time")
	}
}

// A reader who stops is cut off by a real server; one who takes what is sent is
// not, although the time for a whole answer is over.
func TestPacedServer(t *testing.T) {
	sent := make(chan error, 1)
	over := func(p pace) http.Handler {
		return p.handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The time for a whole answer is over before the first byte is on its way.
			err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(-time.Second))
			for n := 0; err == nil && n < 64<<20; n += 1 << 10 { // more than a system keeps
				_, err = w.Write(make([]byte, 1<<10))
			}
			sent <- err
		}))
	}
	mux := http.NewServeMux()
	mux.Handle("/moves", over(pace{1 << 10, time.Hour, 2 * time.Hour}))
	mux.Handle("/stalls", over(pace{1 << 10, 50 * time.Millisecond, time.Hour}))
	s := httptest.NewServer(mux)
	defer s.Close()

	resp, err := http.Get(s.URL + "/moves")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if err := errors.Join(err, <-sent); err != nil || n != 64<<20 {
		t.Errorf("a reader who takes all got %d bytes: %v", n, err)
	}

	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /stalls HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a reader who stopped: %v", err)
	}
}
