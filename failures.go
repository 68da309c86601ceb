package evergreen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

var (
	alertOfClient = wire.AlertSide.Value("client")
	alertOfServer = wire.AlertSide.Value("server")
)

// countFailure counts a handshake that failed with err, and the alerts. It
// reports whether the failure may be the server's: not where the client did not
// speak TLS, or did not say anything.
//
// Both sources are needed: a client may send its alert in the clear where
// crypto/tls expects it encrypted, and then reports something else; or
// encrypted, where the tap can't see it.
func countFailure(rec *recorder.Recorder, s *sight, err error, library wire.Value) bool {
	if s.opening == openedTLS {
		if number, of := alertOf(err); of == alertOfClient && !s.alerted {
			s.alerted, s.alertIn = true, number
		} else if of == alertOfServer && !s.alerting && !s.alerted { // else it is what crypto/tls makes of an alert in the clear
			s.alerting, s.alertOut = true, number
		} else if number, ok := alertToCertificate(err); ok && !s.alerting && !s.alerted {
			s.alerting, s.alertOut = true, number
		}
	}
	if s.alerted {
		rec.Add(wire.TLSAlerts, wire.Dims{wire.AlertValue(s.alertIn), alertOfClient, library}, 1)
	}
	if s.alerting {
		rec.Add(wire.TLSAlerts, wire.Dims{wire.AlertValue(s.alertOut), alertOfServer, library}, 1)
	}
	cause := failureOf(s, err)
	rec.Add(wire.TLSFailures, wire.Dims{wire.TLSFailure.Value(cause), library}, 1)
	switch cause {
	case "plain_http", "plain_http2", "sslv2", "garbage", "connect_and_close", "malformed_hello", "dropped_by_policy":
		return false
	}
	return true
}

// alertOf finds the alert in an error of crypto/tls, whose type is not exported,
// and who raised it; 0 if there is none.
func alertOf(err error) (number uint8, side wire.Value) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Err == nil {
		return 0, 0
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, 0
	}
	switch op.Op {
	case "remote error":
		return uint8(v.Uint()), alertOfClient
	case "local error":
		return uint8(v.Uint()), alertOfServer
	}
	return 0, 0
}

// alertToCertificate is the alert that crypto/tls raises when it does not accept a
// client's certificate. Over TLS 1.3 that is encrypted, and the error does not have it.
func alertToCertificate(err error) (number uint8, ok bool) {
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) {
		return 116, err != nil && strings.Contains(err.Error(), noClientCertificate)
	}
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(refused.Err, &authority):
		return 48, true
	case errors.As(refused.Err, &invalid) && invalid.Reason == x509.Expired:
		return 45, true
	}
	return 42, true
}

const noClientCertificate = "client didn't provide a certificate"

// failureOf names the cause, of wire.TLSFailure.
func failureOf(s *sight, err error) string {
	var netErr net.Error
	timeout := errors.As(err, &netErr) && netErr.Timeout() || errors.Is(err, os.ErrDeadlineExceeded)
	switch s.opening {
	case openedHTTP:
		return "plain_http"
	case openedHTTP2:
		return "plain_http2"
	case openedSSLv2:
		return "sslv2"
	case openedGarbage:
		return "garbage"
	}
	switch {
	case s.bytesIn == 0 && timeout:
		return "timeout"
	case s.bytesIn == 0:
		return "connect_and_close"
	case s.alerted:
		return clientsAlert(s.alertIn)
	case s.hello == helloBroken:
		return "malformed_hello"
	case timeout:
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	}
	if cause := serversError(err); cause != "" {
		return cause
	}
	if s.alerting {
		if cause := serversAlert(s.alertOut); cause != "" {
			return cause
		}
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if s.hello == helloNone {
			return "closed_in_hello"
		}
		return "closed_after_hello"
	case errors.Is(err, net.ErrClosed):
		return "server_closed"
	}
	var header tls.RecordHeaderError
	if errors.As(err, &header) {
		return "garbage"
	}
	if s.alerting {
		return "handshake_failure"
	}
	return "other"
}

// clientsAlert is the cause that a client tells.
func clientsAlert(number uint8) string {
	switch number {
	case 0, 90:
		return "client_cancelled"
	case 40, 71:
		return "client_handshake_failure"
	case 42:
		return "client_bad_certificate"
	case 43:
		return "client_unsupported_certificate"
	case 44:
		return "client_certificate_revoked"
	case 45:
		return "client_certificate_expired"
	case 46:
		return "client_certificate_unknown"
	case 48:
		return "client_unknown_ca"
	case 70:
		return "client_protocol_version"
	}
	return "client_alert"
}

// serversError is the cause that is only in the text of an error, which never
// leaves this function: crypto/tls, Caddy and CertMagic have no types for them.
func serversError(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	for _, c := range []struct{ text, cause string }{
		{"unsupported versions", "no_common_version"},
		{"no cipher suite supported", "no_common_suite"},
		{"no ECDHE curve supported", "no_common_group"},
		{"no key exchanges supported", "no_common_group"},
		{"unsupported application protocols", "no_common_alpn"},
		{"no certificate available", "no_certificate"},
		{"no certificates configured", "no_certificate"},
		{"no server TLS configuration available", "no_policy"},
		{"dropping connection", "dropped_by_policy"},
		{noClientCertificate, "client_certificate"},
		{"failed to verify certificate", "client_certificate"},
		{"failed to parse certificate from client", "client_certificate"},
		{"SSLv2", "sslv2"},
	} {
		if strings.Contains(text, c.text) {
			return c.cause
		}
	}
	return ""
}

// serversAlert is the cause that the server's alert tells.
func serversAlert(number uint8) string {
	switch number {
	case 10, 20, 21, 22, 30, 47, 50, 51, 109, 110:
		return "protocol_violation"
	case 70:
		return "no_common_version"
	case 86:
		return "no_common_version" // a fallback that was not needed
	case 112:
		return "no_certificate"
	case 116:
		return "client_certificate"
	case 120:
		return "no_common_alpn"
	}
	return ""
}
