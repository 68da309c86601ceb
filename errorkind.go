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
	"runtime"
	"syscall"

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

// kindOf classifies an error by the types and numbers in its tree.
func kindOf(err error) wire.Value {
	if err == nil {
		return kindNone
	}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return kindDNS
	case errors.Is(err, context.Canceled):
		return kindCanceled
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return kindTimeout
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		for _, n := range numbered {
			if errno == n.errno || runtime.GOOS == "windows" && n.winsock != 0 && errno == n.winsock {
				return n.kind
			}
		}
	}
	if kind := kindOfTLS(err); kind != wire.Other {
		return kind
	}
	var (
		path   *fs.PathError
		link   *os.LinkError
		call   *os.SyscallError
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
	)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return kindPermission
	case errors.Is(err, fs.ErrNotExist):
		return kindNotFound
	case errors.Is(err, fs.ErrExist):
		return kindExists
	case errors.As(err, &path), errors.As(err, &link), errors.As(err, &call):
		return kindIO
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return kindClosed
	case errors.As(err, &syntax), errors.As(err, &typed):
		return kindJSON
	}
	return wire.Other
}

// kindOfTLS tells errors of a TLS handshake, those about the peer's certificate
// apart.
func kindOfTLS(err error) wire.Value {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		invalid      x509.CertificateInvalidError
		hostname     x509.HostnameError
		record       tls.RecordHeaderError
		alert        tls.AlertError
		op           *net.OpError
	)
	switch {
	case errors.As(err, &verification), errors.As(err, &authority), errors.As(err, &invalid), errors.As(err, &hostname):
		return kindCertificate
	case errors.As(err, &record), errors.As(err, &alert):
		return kindTLS
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"): // an alert, over TCP
		return kindTLS
	}
	return wire.Other
}

// ofFileSystem reports whether err is about a file.
func ofFileSystem(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}
