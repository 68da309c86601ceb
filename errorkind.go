package evergreen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"reflect"
	"runtime"
	"syscall"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Kinds of errors, see wire.ErrorKind.
var (
	kindNone        = wire.ErrorKind.Value("none")
	kindRefused     = wire.ErrorKind.Value("refused")
	kindTimeout     = wire.ErrorKind.Value("timeout")
	kindDNS         = wire.ErrorKind.Value("dns")
	kindUnreachable = wire.ErrorKind.Value("unreachable")
	kindReset       = wire.ErrorKind.Value("reset")
	kindClosed      = wire.ErrorKind.Value("closed")
	kindTLS         = wire.ErrorKind.Value("tls")
	kindCertificate = wire.ErrorKind.Value("certificate")
	kindCanceled    = wire.ErrorKind.Value("canceled")
	kindDescriptors = wire.ErrorKind.Value("descriptors")
	kindPermission  = wire.ErrorKind.Value("permission")
	kindNotFound    = wire.ErrorKind.Value("not_found")
	kindExists      = wire.ErrorKind.Value("exists")
	kindNoSpace     = wire.ErrorKind.Value("no_space")
	kindReadOnly    = wire.ErrorKind.Value("read_only")
	kindNoMemory    = wire.ErrorKind.Value("no_memory")
	kindInUse       = wire.ErrorKind.Value("in_use")
	kindIO          = wire.ErrorKind.Value("io")
	kindJSON        = wire.ErrorKind.Value("json")
	kindPanic       = wire.ErrorKind.Value("panic")
)

// numbered are the errors that the system numbers, with Winsock's number where
// that is another than the one that Go invents on Windows.
var numbered = []struct {
	errno, winsock syscall.Errno
	kind           wire.Value
}{
	{syscall.EMFILE, 10024, kindDescriptors},
	{syscall.ENFILE, 0, kindDescriptors},
	{syscall.ECONNREFUSED, 10061, kindRefused},
	{syscall.ETIMEDOUT, 10060, kindTimeout},
	{syscall.EHOSTUNREACH, 10065, kindUnreachable},
	{syscall.ENETUNREACH, 10051, kindUnreachable},
	{syscall.ECONNRESET, 10054, kindReset},
	{syscall.ECONNABORTED, 10053, kindReset},
	{syscall.EPIPE, 0, kindReset},
	{syscall.EADDRINUSE, 10048, kindInUse},
	{syscall.ENOSPC, 112, kindNoSpace}, // ERROR_DISK_FULL
	{syscall.EDQUOT, 0, kindNoSpace},
	{syscall.EROFS, 19, kindReadOnly}, // ERROR_WRITE_PROTECT
	{syscall.ENOMEM, 0, kindNoMemory},
	{syscall.ENOBUFS, 10055, kindNoMemory},
	{syscall.EIO, 0, kindIO},
}

// ranks orders kinds: what tells most of an error with several is its kind.
var ranks = [...]wire.Value{
	kindDNS, kindCanceled, kindTimeout, kindDescriptors, kindRefused, kindUnreachable, kindReset, kindInUse, kindNoSpace, kindReadOnly, kindNoMemory,
	kindCertificate, kindTLS, kindPermission, kindNotFound, kindExists, kindIO, kindClosed, kindJSON,
}

// kindOf classifies an error by the types and numbers in its tree, which is
// walked once: errors.As for each type would take ten times as long, and
// allocate.
func kindOf(err error) wire.Value {
	if err == nil {
		return kindNone
	}
	best := len(ranks)
	budget := 64
	eachCause(err, &budget, func(err error) {
		if kind := kindOfOne(err); kind != wire.Other {
			for i, k := range ranks[:best] {
				if k == kind {
					best = i
					break
				}
			}
		}
	})
	if best == len(ranks) {
		return wire.Other
	}
	return ranks[best]
}

// eachCause visits an error and what it wraps, as errors.Is does, and what
// the reverse proxy's DialError hides.
func eachCause(err error, budget *int, visit func(error)) {
	for err != nil && *budget > 0 {
		*budget--
		visit(err)
		switch e := err.(type) {
		case reverseproxy.DialError:
			if op := dialError(e); op != nil {
				err = op
				continue
			}
			return
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				eachCause(err, budget, visit)
			}
			return
		default:
			return
		}
	}
}

// dialError is what is in the reverse proxy's error that it could not dial,
// which does not unwrap; nil if that is nothing of net's.
func dialError(e reverseproxy.DialError) *net.OpError {
	v := reflect.ValueOf(e).FieldByName("error")
	if v.Kind() != reflect.Interface || v.IsNil() || v.Elem().Type() != reflect.TypeFor[*net.OpError]() {
		return nil
	}
	return (*net.OpError)(v.Elem().UnsafePointer())
}

// kindOfOne classifies an error, but not what it wraps.
func kindOfOne(err error) wire.Value {
	switch err {
	case context.Canceled:
		return kindCanceled
	case context.DeadlineExceeded, os.ErrDeadlineExceeded:
		return kindTimeout
	case fs.ErrPermission:
		return kindPermission
	case fs.ErrNotExist:
		return kindNotFound
	case fs.ErrExist:
		return kindExists
	case io.EOF, io.ErrUnexpectedEOF, net.ErrClosed:
		return kindClosed
	}
	switch e := err.(type) {
	case syscall.Errno:
		return kindOfNumber(e)
	case *net.DNSError:
		return kindDNS
	case *tls.CertificateVerificationError, x509.UnknownAuthorityError, x509.CertificateInvalidError, x509.HostnameError:
		return kindCertificate
	case tls.RecordHeaderError, tls.AlertError:
		return kindTLS
	case *net.OpError:
		switch {
		case e.Op == "remote error" || e.Op == "local error": // an alert, over TCP
			return kindTLS
		case e.Err != nil && e.Timeout():
			return kindTimeout
		}
	case *fs.PathError, *os.LinkError, *os.SyscallError:
		return kindIO
	case *json.SyntaxError, *json.UnmarshalTypeError:
		return kindJSON
	case net.Error:
		if e.Timeout() {
			return kindTimeout
		}
	}
	// Types of the standard library that are not exported say what they are.
	if e, ok := err.(interface{ Is(error) bool }); ok && e.Is(context.Canceled) {
		return kindCanceled
	}
	return wire.Other
}

func kindOfNumber(e syscall.Errno) wire.Value {
	for i := range numbered {
		if n := &numbered[i]; e == n.errno || runtime.GOOS == "windows" && n.winsock != 0 && e == n.winsock {
			return n.kind
		}
	}
	switch {
	case e.Is(fs.ErrPermission):
		return kindPermission
	case e.Is(fs.ErrNotExist):
		return kindNotFound
	case e.Is(fs.ErrExist):
		return kindExists
	case e.Timeout():
		return kindTimeout
	}
	return wire.Other
}

// ofFileSystem reports whether err is about a file.
func ofFileSystem(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}
