package rehearse

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHeaderForms(t *testing.T) {
	n := normal{original: map[int]int{20001: 80, 20002: 443, 20003: 8443}}
	for _, c := range []struct{ name, is, want string }{
		{"Alt-Svc", `h3=":20002"; ma=2592000`, `h3=":443"; ma=2592000`},
		{"Alt-Svc", `h3=":20004"; ma=2592000`, `h3=":20004"; ma=2592000`},
		{"Location", "https://a.example:20002/x?y=:20003", "https://a.example/x?y=:8443"},
		{"Location", "https://a.example:20003/x", "https://a.example:8443/x"},
		{"Location", "http://a.example:80", "http://a.example"},
		{"Location", "/x", "/x"},
		{"Www-Authenticate", `Digest nonce="abc"`, "Digest"},
		{"Set-Cookie", "sid=8f3; Path=/; Max-Age=7; Secure; HttpOnly; SameSite=Lax", "sid; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"Set-Cookie", "=", "unreadable"},
		{"Content-Type", "text/html; charset=utf-8", "text/html; charset=utf-8"},
	} {
		if d := cmp.Diff(c.want, n.header(c.name, []string{c.is})); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if d := cmp.Diff("Accept, Origin", n.header("Vary", []string{"Origin", "Accept"})); d != "" {
		t.Error(d)
	}
}

func TestDifferences(t *testing.T) {
	ok := func(fields ...string) answer {
		a := answer{fields: map[string]string{fieldStatus: "200"}, took: time.Millisecond}
		for i := 0; i < len(fields); i += 2 {
			a.fields[fields[i]] = fields[i+1]
		}
		return a
	}
	slow := func(d time.Duration) answer { a := ok(); a.took = d; return a }
	cert := func(print, class string) answer { a := ok(); a.cert = &certificate{print, class}; return a }
	no := func(why string) answer { return answer{failure: why} }
	type answers = []answer
	const where = "https://a.example/ over HTTP/2"
	one := func(what, was, is string) []Difference { return []Difference{{where, what, was, is}} }
	for _, c := range []struct {
		name               string
		running, candidate answers
		want               []Difference
	}{
		{"alike", answers{ok(), ok()}, answers{ok()}, nil},
		{"another status", answers{ok(), ok()}, answers{ok("status", "500")}, one("status", `"200"`, `"500"`)},
		{"another page", answers{ok(), ok()}, answers{ok("status", "500", "header Vary", "A", "protocol", "HTTP/1.0")}, []Difference{
			{where, "status", `"200"`, `"500"`}, {where, "protocol", "absent", `"HTTP/1.0"`},
		}},
		{"another status once", answers{ok(), ok(), ok()}, answers{ok("status", "500"), ok()}, nil},
		{"an unstable status", answers{ok(), ok("status", "503")}, answers{ok("status", "500")}, nil},
		{"other statuses", answers{ok(), ok(), ok()}, answers{ok("status", "500"), ok("status", "502")}, one("status", `"200"`, `"502 (or another)"`)},
		{"a header less", answers{ok("header Vary", "A"), ok("header Vary", "A")}, answers{ok()}, one("header Vary (what caches give to whom)", `"A"`, "absent")},
		{"a header more", answers{ok(), ok()}, answers{ok("header Location", "/x")}, one("header Location (where a client goes next)", "absent", `"/x"`)},
		{"an unstable header", answers{ok("header Vary", "A"), ok()}, answers{ok("header Vary", "B")}, nil},
		{"no answer", answers{ok(), ok()}, answers{no(failureTimeout)}, one("the answer", "an answer", failureTimeout)},
		{"an answer", answers{no("x"), no("x")}, answers{ok()}, one("the answer", "x", "an answer")},
		{"no answer from both", answers{no("x"), no("x")}, answers{no("x")}, nil},
		{"no answer for other reasons", answers{no("x"), no("x")}, answers{no("y")}, one("the answer", "x", "y")},
		{"no answer in several ways", answers{ok(), ok()}, answers{no("x"), no("y")}, one("the answer", "an answer", "y")},
		{"another answer now and then", answers{ok(), ok()}, answers{no("x"), ok("status", "500")}, one("status", `"200"`, `"500"`)},
		{"no answer now and then", answers{ok(), no("x")}, answers{no("x")}, nil},
		{"the same certificate", answers{cert("1", "a"), cert("1", "a")}, answers{cert("1", "a")}, nil},
		{"a renewed certificate", answers{cert("1", "a"), cert("1", "a")}, answers{cert("2", "a")}, nil},
		{"another certificate", answers{cert("1", "a"), cert("1", "a")}, answers{cert("2", "b")}, one("certificate", "a", "b")},
		{"somewhat slower", answers{slow(10 * time.Millisecond), slow(time.Second)}, answers{slow(900 * time.Millisecond)}, nil},
		{"slow as ever", answers{slow(time.Second), slow(2 * time.Second)}, answers{slow(9 * time.Second)}, nil},
		{"far slower", answers{slow(10 * time.Millisecond), slow(time.Second)}, answers{slow(1100 * time.Millisecond), slow(2 * time.Second)}, one("the time to answer", "10ms", "1.1s")},
		{"too little known", answers{ok()}, answers{ok("status", "500")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, differences(where, c.running, c.candidate)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestGuessedType has answers whose type depends on when their body comes.
func TestGuessedType(t *testing.T) {
	var n normal
	read := func(length int64, kind, body string) string {
		resp := &http.Response{Header: http.Header{}, ContentLength: length}
		if kind != "" {
			resp.Header.Set("Content-Type", kind)
		}
		return n.read(resp, []byte(body), "", 0).fields[fieldHeader+"Content-Type"]
	}
	const plain = "text/plain; charset=utf-8"
	for _, c := range []struct {
		length           int64
		kind, body, want string
	}{
		{-1, "", "text", ""},
		{-1, plain, "text", ""},
		{4, plain, "text", plain},
		{-1, plain, "<html>", plain},
		{-1, "text/css", "text", "text/css"},
	} {
		if d := cmp.Diff(c.want, read(c.length, c.kind, c.body)); d != "" {
			t.Errorf("%d bytes of %q with %q: %s", c.length, c.kind, c.body, d)
		}
	}
}

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name, raw, beginning, failure string
	}{
		{"whole", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext", "text", ""},
		{"none", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", ""},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n", "text", ""},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\ntext", "text", ""},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntext", "text", "a connection that ends"},
		{"cut in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ntext", "text", "a connection that ends"},
		{"cut at once", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "", "a connection that ends"},
		{"long", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 2*maxBody), strings.Repeat("x", sniffed), ""},
		{"long and cut", "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + strings.Repeat("x", 999), strings.Repeat("x", sniffed), "a connection that ends"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(c.raw)), nil)
			if err != nil {
				t.Fatal(err)
			}
			beginning, failure := drain(resp.Body)
			if d := cmp.Diff([]string{c.beginning, c.failure}, []string{string(beginning), failure}); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReport(t *testing.T) {
	r := Report{Probes: 90, Notes: []string{"x was not compared"}}
	if r.String() != "" {
		t.Errorf("a report without differences is %q", r)
	}
	for i := range 25 {
		r.Differences = append(r.Differences, Difference{fmt.Sprintf("https://h%d.example/ over HTTP/2", i), "status", `"200"`, `"500"`})
	}
	lines := strings.Split(r.String(), "\n")
	want := []string{
		"25 differences from the running server, in 90 requests:",
		`  https://h0.example/ over HTTP/2: status is "500", was "200"`,
		"  … and 5 more",
		"  note: x was not compared",
	}
	if d := cmp.Diff(want, []string{lines[0], lines[1], lines[len(lines)-2], lines[len(lines)-1]}); d != "" || len(lines) != 23 {
		t.Errorf("%d lines: %s", len(lines), d)
	}
}

func TestOutput(t *testing.T) {
	var lines []string
	o := &output{each: func(b []byte) { lines = append(lines, string(b)) }}
	for _, s := range []string{"one\ntw", "o\n", "\x1b[31mthree\a\nrest"} {
		if n, err := io.WriteString(o, s); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if d := cmp.Diff([]string{"one", "two", "\x1b[31mthree\a"}, lines); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("one two [31mthree rest", o.said()); d != "" {
		t.Error(d)
	}
	if _, err := io.WriteString(o, "\n{\"level\":\"info\"}\n{\"level\":\"error\"}"); err != nil || o.said() != "one two [31mthree rest {\"level\":\"error\"}" {
		t.Errorf("%v: %q", err, o.said())
	}
	flood := strings.Repeat(strings.Repeat("x", 99)+"\n", 10_000)
	if _, err := io.WriteString(o, flood+"\npanic: at last\n"+strings.Repeat("goroutine 1\n", 100)); err != nil {
		t.Fatal(err)
	}
	if len(o.head) > keptOutput || len(o.tail) > 2*keptOutput || o.size() < 1_000_000 {
		t.Errorf("kept %d and %d of %d bytes", len(o.head), len(o.tail), o.size())
	}
	if s := o.said(); !strings.HasPrefix(s, "panic: at last goroutine 1") || len(s) > maxSaid+10 {
		t.Errorf("it says %q", s)
	}
}

func FuzzOutput(f *testing.F) {
	f.Add([]byte("a\nb"), []byte("\n\xff\x00"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var joined []byte
		o := &output{each: func(l []byte) { joined = append(append(joined, l...), '\n') }}
		_, _ = o.Write(a)
		_, _ = o.Write(b)
		whole := string(a) + string(b)
		if i := strings.LastIndexByte(whole, '\n'); len(whole) <= keptOutput && string(joined) != whole[:i+1] {
			t.Errorf("lines %q of %q", joined, whole)
		}
		if s := o.said(); len(s) > 2*maxSaid || strings.ContainsAny(s, "\n\x00\x1b") {
			t.Errorf("said %q", s)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("Location", "https://a:20001/")
	f.Add("Set-Cookie", "a=b; Secure")
	f.Add("Alt-Svc", `h3=":20001"`)
	n := normal{original: map[int]int{20001: 443}}
	f.Fuzz(func(t *testing.T, name, v string) {
		resp := &http.Response{Header: http.Header{name: {v}}}
		a := n.read(resp, nil, "", 0)
		if got := n.header(name, []string{v}); len(got) > 310 {
			t.Errorf("%d bytes", len(got))
		}
		if len(differences("x", []answer{a, a}, []answer{a})) > 0 {
			t.Error("an answer differs from itself")
		}
	})
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{io.EOF, "a connection that ends"},
		{errors.New("http: server gave HTTP response to HTTPS client"), failureNoTLS},
		{errors.New("remote error: tls: unrecognized name"), "a failed handshake (unrecognized name)"},
		{errors.New("x"), "no answer of HTTP"},
	} {
		if d := cmp.Diff(c.want, failureOf(c.err)); d != "" {
			t.Error(d)
		}
	}
}
