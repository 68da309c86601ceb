package collect

import (
	"bytes"
	"log/slog"
	"testing"
)

func TestQuietErrorLog(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"http: TLS handshake error from 192.0.2.1:1234: tls: no certificate for secret.example", "level=DEBUG msg=\"a TLS handshake failed\"\n"},
		{"http: panic serving 192.0.2.1:1234: oh\ngoroutine 1 [running]:\nmain.main()\n\t/x/main.go:12 +0x1f", "level=ERROR msg=\"a request's handler panicked\" error=\"http: panic serving [address]: oh\\ngoroutine 1 [running]:\\nmain.main()\\n\\t/x/main.go:12 +0x1f\"\n"},
		{"http2: server connection error from [2001:db8::1]:1234: timeout", "level=WARN msg=\"the HTTP server had trouble\" error=\"http2: server connection error from [address]: timeout\"\n"},
		{"read tcp 10.0.0.1:443->192.0.2.1:1234: i/o timeout", "level=WARN msg=\"the HTTP server had trouble\" error=\"read tcp [address]->[address]: i/o timeout\"\n"},
		{"http: Accept error: accept tcp [::]:443: too many open files; retrying in 5ms", "level=WARN msg=\"the HTTP server had trouble\" error=\"http: Accept error: accept tcp [address]: too many open files; retrying in 5ms\"\n"},
		{"from fe80::1%eth0: no, 2001:db8::: no, and 192.0.2.1.", "level=WARN msg=\"the HTTP server had trouble\" error=\"from [address]: no, [address]: no, and [address].\"\n"},
		{"http: superfluous response.WriteHeader call from main.f (main.go:10)", "level=WARN msg=\"the HTTP server had trouble\" error=\"http: superfluous response.WriteHeader call from main.f (main.go:10)\"\n"},
		{"\n", ""},
	} {
		var out bytes.Buffer
		h := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		QuietErrorLog(slog.New(h)).Print(c.in)
		if out.String() != c.want {
			t.Errorf("%q became\n%s, want\n%s", c.in, &out, c.want)
		}
	}
}
