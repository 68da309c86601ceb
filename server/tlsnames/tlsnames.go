// Package tlsnames has the names of the numbers in a ClientHello: what IANA's
// registry of TLS calls them, or those who use them where it does not.
package tlsnames

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/caddy-evergreen/evergreen/clienthello"
)

//go:embed names.tsv
var table string

// names are the lines of the table, by their kind and number.
var names = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(table) {
		kind, rest, _ := strings.Cut(line, "\t")
		number, name, _ := strings.Cut(rest, "\t")
		m[kind+number] = strings.TrimSpace(name)
	}
	return m
})

func name(kind string, v uint16) string {
	hex := fmt.Sprintf("%04x", v)
	if n, ok := names()[kind+hex]; ok {
		return n
	}
	if clienthello.IsGREASE(v) {
		return "GREASE"
	}
	return "0x" + hex
}

// CipherSuite is the name of a cipher suite. Each of these functions returns
// GREASE for what RFC 8701 reserves and the number in hexadecimal for what has no name.
func CipherSuite(v uint16) string { return name("suite", v) }

// Extension is the name of an extension.
func Extension(v uint16) string { return name("extension", v) }

// Group is the name of a group of key exchange.
func Group(v uint16) string { return name("group", v) }

// SignatureScheme is the name of a signature scheme.
func SignatureScheme(v uint16) string { return name("scheme", v) }

// Version is the name of a version of the protocol.
func Version(v uint16) string {
	switch v {
	case 0x0002:
		return "SSL 2.0"
	case 0x0300:
		return "SSL 3.0"
	case 0x0301, 0x0302, 0x0303, 0x0304:
		return "TLS 1." + strconv.Itoa(int(v-0x0301))
	}
	return name("version", v)
}

// CertCompression is the name of an algorithm that compresses certificates.
func CertCompression(v uint16) string {
	switch v {
	case 1:
		return "zlib"
	case 2:
		return "brotli"
	case 3:
		return "zstd"
	}
	return name("compression", v)
}
