package collect

import (
	"bytes"
	"log"
	"log/slog"
	"regexp"
	"strings"

	"github.com/caddy-evergreen/evergreen/server/senders"
)

// QuietErrorLog is for http.Server.ErrorLog, which writes clients' addresses
// into its messages: it hands them to logger without.
//
// A failed TLS handshake, which any passer-by can cause, is logged at level
// debug and without its reason, since that may hold a host name. Of all other
// messages, addresses are cut out.
func QuietErrorLog(logger *slog.Logger) *log.Logger {
	return log.New(errorLog{logger}, "", 0)
}

type errorLog struct{ to *slog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	switch msg := string(bytes.TrimSpace(p)); {
	case msg == "":
	case strings.Contains(msg, "TLS handshake error"):
		l.to.Debug("a TLS handshake failed")
	case strings.Contains(msg, "panic"):
		l.to.Error("a request's handler panicked", "error", withoutAddresses(msg))
	default:
		l.to.Warn("the HTTP server had trouble", "error", withoutAddresses(msg))
	}
	return len(p), nil
}

// maybeAddress matches all that could be an address, with or without brackets,
// zone and port, and a good deal that isn't.
var maybeAddress = regexp.MustCompile(`\[?[0-9A-Fa-f:.]*[:.][0-9A-Fa-f:.]*(%[0-9A-Za-z_.-]+)?\]?(:[0-9]+)?`)

func withoutAddresses(s string) string {
	return maybeAddress.ReplaceAllStringFunc(s, func(m string) string {
		// Punctuation around an address looks like a part of it.
		for end := len(m); end > 0; end-- {
			for _, a := range []string{m[:end], strings.TrimLeft(m[:end], ".:")} {
				if senders.Parse(a).IsValid() {
					return "[address]" + m[end:]
				}
			}
			if c := m[end-1]; c != '.' && c != ':' {
				break
			}
		}
		return m
	})
}
