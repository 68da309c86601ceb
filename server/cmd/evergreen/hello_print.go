package main

import (
	"fmt"
	"strings"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/server/hellos"
	"github.com/caddy-evergreen/evergreen/server/tlsnames"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An explanation is what --json prints of a hello.
type explanation struct {
	JA3     string      `json:"ja3"`
	JA4     string      `json:"ja4"`
	Library string      `json:"library"`
	Client  string      `json:"client"`
	Verdict string      `json:"verdict"`
	Reasons []string    `json:"reasons"`
	File    string      `json:"file,omitempty"`
	Line    int         `json:"line,omitempty"`
	From    string      `json:"from,omitempty"` // of a capture
	To      string      `json:"to,omitempty"`
	Again   bool        `json:"after_hello_retry_request,omitempty"`
	JA3Full string      `json:"ja3_string"`
	JA4Raw  string      `json:"ja4_raw"`
	Hello   helloFields `json:"hello"`
}

type helloFields struct {
	Transport        string   `json:"transport"`
	Length           int      `json:"length"`
	LegacyVersion    string   `json:"legacy_version"`
	SSLv2            bool     `json:"sslv2_format,omitempty"`
	Versions         []string `json:"versions,omitempty"`
	CipherSuites     []string `json:"cipher_suites"`
	SSLv2Ciphers     []string `json:"sslv2_ciphers,omitempty"`
	Extensions       []string `json:"extensions"`
	ServerName       string   `json:"server_name,omitempty"`
	Groups           []string `json:"groups,omitempty"`
	KeyShares        []string `json:"key_shares,omitempty"`
	SignatureSchemes []string `json:"signature_schemes,omitempty"`
	ALPN             []string `json:"alpn,omitempty"`
	CertCompressions []string `json:"certificate_compressions,omitempty"`
	PointFormats     []uint16 `json:"point_formats,omitempty"`
	Compressions     []uint16 `json:"compressions,omitempty"`
	PSKModes         []uint16 `json:"psk_modes,omitempty"`
	SessionIDLength  int      `json:"session_id_length"`
	ECH              bool     `json:"ech"`
	EarlyData        bool     `json:"early_data"`
	PSK              bool     `json:"psk"`
	SessionTicket    bool     `json:"session_ticket"`
}

func explained(h *clienthello.Hello, c clients.Client, ua string, j clients.Judgement, reasons []string, file string, line int, f *hellos.Found) explanation {
	x := explanation{
		JA3: h.JA3(), JA4: h.JA4(), JA3Full: h.JA3String(), JA4Raw: h.JA4Raw(),
		Library: wire.TLSLibrary.ValueName(j.Library), Verdict: wire.InterceptionVerdict.ValueName(j.Verdict),
		Client: clientName(c, ua), Reasons: append([]string{}, reasons...),
		File: file, Line: line, Hello: fields(h),
	}
	if f != nil {
		x.From, x.To, x.Again = f.From.String(), f.To.String(), f.Again
	}
	return x
}

func fields(h *clienthello.Hello) helloFields {
	f := helloFields{
		Transport: "tcp", Length: h.Length, LegacyVersion: tlsnames.Version(h.LegacyVersion), SSLv2: h.SSLv2,
		Versions: named(h.Versions, tlsnames.Version), CipherSuites: named(h.CipherSuites, tlsnames.CipherSuite),
		Extensions: named(h.Extensions, tlsnames.Extension), ServerName: h.ServerName,
		Groups: named(h.Groups, tlsnames.Group), KeyShares: named(h.KeyShares, tlsnames.Group),
		SignatureSchemes: named(h.SignatureSchemes, tlsnames.SignatureScheme), ALPN: h.ALPN,
		CertCompressions: named(h.CertCompressions, tlsnames.CertCompression),
		PointFormats:     wide(h.PointFormats), Compressions: wide(h.Compressions), PSKModes: wide(h.PSKModes),
		SessionIDLength: h.SessionIDLength, ECH: h.ECH, EarlyData: h.EarlyData, PSK: h.PSK, SessionTicket: h.SessionTicket,
	}
	if h.Transport == clienthello.QUIC {
		f.Transport = "quic"
	}
	for _, c := range h.SSLv2Ciphers {
		f.SSLv2Ciphers = append(f.SSLv2Ciphers, fmt.Sprintf("0x%06x", c))
	}
	return f
}

func named(list []uint16, name func(uint16) string) []string {
	names := make([]string, len(list))
	for i, v := range list {
		names[i] = name(v)
	}
	return names
}

// wide is a list of bytes as JSON shall have it: numbers, not base64.
func wide(b []uint8) []uint16 {
	list := make([]uint16, len(b))
	for i, v := range b {
		list[i] = uint16(v)
	}
	return list
}

// clientName is what the User-Agent claims to be, in the dictionary's words.
func clientName(c clients.Client, ua string) string {
	if ua == "" {
		return "unknown"
	}
	parts := []string{wire.ClientKind.ValueName(c.Kind)}
	for _, p := range []struct {
		d *wire.Dimension
		v wire.Value
	}{{wire.Browser, c.Browser}, {wire.BrowserVersion, c.Version}, {wire.Bot, c.Bot}, {wire.Tool, c.Tool}, {wire.ClientOS, c.OS}} {
		if p.v != wire.Other {
			parts = append(parts, p.d.ValueName(p.v))
		}
	}
	return strings.Join(parts, " ")
}

// where says which hello it is, ahead of what is said of it.
func (e *explainer) where(f *hellos.Found) string {
	var parts []string
	if e.file != "" {
		parts = append(parts, e.file)
	}
	if e.line > 0 {
		parts = append(parts, fmt.Sprint("line ", e.line))
	}
	if f != nil {
		parts = append(parts, fmt.Sprint(f.From, " to ", f.To))
		if f.Again {
			parts = append(parts, "after HelloRetryRequest")
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ", ") + ": "
}

// print is for a person.
func (e *explainer) print(c clients.Client, ua string, j clients.Judgement, reasons []string, f *hellos.Found) error {
	h := &e.hello
	x := fields(h)
	format := "a ClientHello"
	if h.SSLv2 {
		format = "a ClientHello in SSLv2's format"
	}
	fmt.Fprintf(e.out, "%s%s of %d bytes over %s\n", e.where(f), format, h.Length, strings.ToUpper(x.Transport))
	row := func(name string, values ...string) {
		if text := strings.Join(values, ", "); text != "" {
			fmt.Fprintf(e.out, "  %-18s %s\n", name, text)
		}
	}
	quoted := make([]string, len(h.ALPN))
	for i, a := range h.ALPN {
		quoted[i] = fmt.Sprintf("%+q", a) // a stranger's bytes, on a terminal
	}
	row("JA3", h.JA3())
	row("JA4", h.JA4())
	row("legacy version", x.LegacyVersion)
	row("versions", x.Versions...)
	if h.ServerName != "" {
		row("server name", fmt.Sprintf("%+q", h.ServerName))
	}
	row("ALPN", quoted...)
	row("cipher suites", x.CipherSuites...)
	row("SSLv2 ciphers", x.SSLv2Ciphers...)
	row("extensions", x.Extensions...)
	row("groups", x.Groups...)
	row("key shares", x.KeyShares...)
	row("signature schemes", x.SignatureSchemes...)
	row("certificates", compressed(x.CertCompressions)...)
	var said []string
	for _, s := range []struct {
		name string
		is   bool
	}{{"ECH (or its GREASE)", h.ECH}, {"early data", h.EarlyData}, {"pre-shared key", h.PSK}, {"session ticket", h.SessionTicket}} {
		if s.is {
			said = append(said, s.name)
		}
	}
	row("offers", said...)
	row("library", wire.TLSLibrary.ValueName(j.Library))
	if ua != "" {
		row("client", clientName(c, ua))
		row("verdict", wire.InterceptionVerdict.ValueName(j.Verdict))
	}
	for _, r := range reasons {
		row("because", r)
	}
	_, err := fmt.Fprintln(e.out)
	return err
}

func compressed(algorithms []string) []string {
	if len(algorithms) == 0 {
		return nil
	}
	return []string{"compressed with " + strings.Join(algorithms, ", ")}
}
