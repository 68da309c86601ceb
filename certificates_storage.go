package evergreen

import (
	"strings"

	"go.uber.org/zap/zapcore"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// storageTexts are how the errors begin with which CertMagic gives up because of
// its storage before an attempt's event, or after the certificate was issued. It
// has no event for them, and wraps none of them: only its log tells.
var storageTexts = []struct {
	text  string
	begun bool // there was an event of the attempt
}{
	{": saving assets: ", true},
	{"failed storage check: ", false},
	{"unable to acquire lock '", false},
	{"unable to renew lock lease '", false},
}

// countStorageFailure counts a log entry of CertMagic's that says that the
// storage was why there is no certificate.
func countStorageFailure(rec *recorder.Recorder, e zapcore.Entry, err error) {
	if err == nil {
		return
	}
	renewal := e.LoggerName == "tls.renew"
	switch e.LoggerName {
	case "tls.obtain", "tls.renew":
		if e.Message != "will retry" && !strings.HasPrefix(e.Message, "final attempt") {
			return
		}
	case "tls":
		if e.Message != "job failed" {
			return
		}
	default:
		return
	}
	text := err.Error()
	text = text[:min(len(text), maxCauseText)]
	if strings.HasSuffix(text, "context canceled") {
		return // by a reload, or the end
	}
	if e.LoggerName == "tls" {
		renewal = !strings.Contains(text, ": obtaining certificate: ")
	}
	occasion := wire.CertificateOccasion.Value("obtain")
	if renewal {
		occasion = wire.CertificateOccasion.Value("renew")
	}
	for _, t := range storageTexts {
		if strings.Contains(text, t.text) {
			if !t.begun {
				rec.Add(wire.CertificatesAttempts, wire.Dims{occasion}, 1)
			}
			rec.Add(wire.CertificatesFailed, wire.Dims{wire.CertificateCause.Value("storage"), wire.CertificateIssuer.Value("none"), occasion}, 1)
			return
		}
	}
}
