package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/server/hellos"
	"github.com/caddy-evergreen/evergreen/server/pcap"
)

const helloAbout = `Usage: evergreen hello [FLAGS] [FILE…]

Explains TLS ClientHellos: what each says, its JA3 and JA4, which TLS library it
looks like and, with a User-Agent, whether it fits the client that names itself so.
It reads the files, or the standard input if there are none or for the file "-".
Nothing is sent anywhere.

A file's format is seen from its first bytes, or given with --format:

  jsonl   JSON lines: {"hello": "HEX", "user_agent": "…"}, the latter if it is known
  hex     a hello in hexadecimal on each line
  raw     the bytes of one direction of a connection: records of TLS
  pcap    a capture (pcap or pcapng) with TLS over TCP, and QUIC

In jsonl and hex a hello is the handshake message (01…), or what is raw (1603…, or
SSLv2's 80…). Spaces and colons in hexadecimal are skipped.

With --json, each hello gives one line: an object with ja3, ja4, library, client,
verdict (consistent, inconsistent or unknown) and reasons. What can't be read gives
one with error and line (of jsonl and hex), and the rest goes on.

The exit status is 0 if all was explained, 1 if something could not be read or
no hello was found, and 2 if the flags were wrong.`

// The bounds of what is read at once.
const (
	maxHelloLine = 1 << 20
	maxHelloRaw  = 4 << 20
)

func hello(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flags("hello", helloAbout, stderr)
	format := fs.String("format", "", "`FORMAT` of the files: jsonl, hex, raw or pcap (default: as seen from each)")
	ua := fs.String("user-agent", "", "the `USER-AGENT` that the client sends, for hellos that come without")
	asJSON := fs.Bool("json", false, "print one JSON object a line")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	switch *format {
	case "", "jsonl", "hex", "raw", "pcap":
	default:
		return fmt.Errorf("--format is jsonl, hex, raw or pcap, not %q: %w", *format, errUsage)
	}
	w := bufio.NewWriter(stdout)
	defer func() { err = errors.Join(err, w.Flush()) }()
	e := &explainer{ctx: ctx, out: w, json: *asJSON, userAgent: *ua}
	files := fs.Args()
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		e.file = name
		if len(files) == 1 {
			e.file = ""
		}
		if err := e.open(name, *format); err != nil {
			return err
		}
	}
	switch {
	case e.failed > 0:
		return fmt.Errorf("%d of %d could not be read", e.failed, e.failed+e.explained)
	case e.explained == 0:
		return errors.New("no ClientHello was found")
	}
	return nil
}

// An explainer reads hellos and prints what they say.
type explainer struct {
	ctx               context.Context
	out               *bufio.Writer
	json              bool
	userAgent         string
	file              string // "" if it is the only one
	line              int
	hello             clienthello.Hello
	explained, failed int
}

func (e *explainer) open(name, format string) error {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	r := bufio.NewReaderSize(in, 64<<10)
	if format == "" {
		format = look(r)
	}
	e.line = 0
	var err error
	switch format {
	case "pcap":
		err = e.capture(r)
	case "raw":
		err = e.raw(r)
	default:
		err = e.lines(r, format == "jsonl")
	}
	if err != nil && name != "-" && e.ctx.Err() == nil {
		err = fmt.Errorf("reading %s: %w", name, err)
	}
	return err
}

// look tells the format from the first bytes. It waits for no more than 4 of them.
func look(r *bufio.Reader) string {
	head, _ := r.Peek(4)
	if pcap.Looks(head) {
		return "pcap"
	}
	head = bytes.TrimLeft(head, " \t\r\n")
	switch {
	case len(head) > 0 && head[0] == '{':
		return "jsonl"
	case len(head) > 0 && (head[0]&0x80 != 0 || head[0] < ' '):
		return "raw"
	}
	return "hex"
}

func (e *explainer) capture(r io.Reader) error {
	p, err := pcap.NewReader(r)
	if err != nil {
		return e.bad(err)
	}
	var finder hellos.Finder
	for e.ctx.Err() == nil {
		packet, err := p.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, pcap.ErrFormat):
			return e.bad(err)
		case err != nil:
			return err
		}
		finder.Packet(packet, func(f hellos.Found) {
			err = errors.Join(err, e.explain(f.Parse(&e.hello), e.userAgent, &f))
		})
		if err != nil {
			return err
		}
	}
	return e.ctx.Err()
}

func (e *explainer) raw(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxHelloRaw))
	if err != nil {
		return err
	}
	return e.bytes(b, e.userAgent)
}

// lines reads JSON lines or hexadecimal. A line that is too long is skipped.
func (e *explainer) lines(r *bufio.Reader, isJSON bool) error {
	var line []byte
	for e.ctx.Err() == nil {
		line = line[:0]
		long := false
		var err error
		for more := true; more; {
			var part []byte
			part, err = r.ReadSlice('\n')
			more = errors.Is(err, bufio.ErrBufferFull)
			if len(line)+len(part) > maxHelloLine {
				long = true
				continue
			}
			line = append(line, part...)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		last := err != nil
		e.line++
		text := bytes.TrimSpace(line)
		switch {
		case long:
			err = e.bad(fmt.Errorf("the line has more than %d bytes", maxHelloLine))
		case len(text) == 0:
			err = nil
		case isJSON:
			err = e.object(text)
		default:
			err = e.hex(string(text), e.userAgent)
		}
		if err != nil || last {
			return err
		}
	}
	return e.ctx.Err()
}

func (e *explainer) object(text []byte) error {
	var in struct {
		Hello     *string `json:"hello"`
		UserAgent *string `json:"user_agent"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return e.bad(err)
	}
	if in.Hello == nil {
		return e.bad(errors.New(`the object has no "hello"`))
	}
	ua := e.userAgent
	if in.UserAgent != nil {
		ua = *in.UserAgent
	}
	return e.hex(*in.Hello, ua)
}

func (e *explainer) hex(text, ua string) error {
	digits := make([]byte, 0, len(text))
	for i := range len(text) {
		switch c := text[i]; c {
		case ' ', ':', '\t':
		default:
			digits = append(digits, c)
		}
	}
	n, err := hex.Decode(digits, digits)
	if err != nil {
		return e.bad(fmt.Errorf("the hello: %w", err))
	}
	return e.bytes(digits[:n], ua)
}

// quicTransportParameters is an extension that TLS over TCP must not have, by
// section 8.2 of RFC 9001.
const quicTransportParameters = 0x39

// bytes explains a handshake message, or the hellos in records.
func (e *explainer) bytes(b []byte, ua string) error {
	e.hello.Transport = clienthello.TCP
	if len(b) > 0 && b[0] == 1 {
		err := e.hello.Parse(b)
		if e.hello.HasExtension(quicTransportParameters) {
			e.hello.Transport = clienthello.QUIC
		}
		return e.explain(err, ua, nil)
	}
	var records clienthello.Records
	found := false
	for len(b) > 0 {
		var event clienthello.Event
		event, b = records.Next(b)
		var err error
		switch {
		case event.Kind == clienthello.SSLv2Hello:
			err = e.hello.ParseSSLv2(event.Bytes)
		case event.Kind == clienthello.Message && event.Type == 1:
			err = e.hello.Parse(event.Bytes)
		default:
			continue
		}
		found = true
		if err := e.explain(err, ua, nil); err != nil {
			return err
		}
	}
	if found {
		return nil
	}
	switch records.Ended() {
	case clienthello.NoEvent:
		return e.bad(errors.New("no ClientHello: cut short, or of another kind"))
	case clienthello.PlainHTTP:
		return e.bad(errors.New("no ClientHello: it is plain HTTP"))
	case clienthello.TooLong:
		return e.bad(fmt.Errorf("no ClientHello in the first %d bytes", clienthello.MaxClear))
	}
	return e.bad(errors.New("no ClientHello: neither a handshake message nor a record of TLS"))
}

// bad reports what could not be read. Its error is one of writing.
func (e *explainer) bad(cause error) error {
	e.failed++
	if e.json {
		return e.write(struct {
			Error string `json:"error"`
			File  string `json:"file,omitempty"`
			Line  int    `json:"line,omitempty"`
		}{cause.Error(), e.file, e.line})
	}
	_, err := fmt.Fprintf(e.out, "%scannot be read: %v\n\n", e.where(nil), cause)
	return err
}

func (e *explainer) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := e.out.Write(append(b, '\n')); err != nil {
		return err
	}
	return nil
}

// explain prints what e.hello says, which parsing gave with the error malformed.
func (e *explainer) explain(malformed error, ua string, f *hellos.Found) error {
	if malformed != nil {
		return e.bad(malformed)
	}
	e.explained++
	var c clients.Client
	if ua != "" {
		c = clients.Classify(ua)
	}
	j, reasons := clients.Explain(&e.hello, c)
	if e.json {
		return e.write(explained(&e.hello, c, ua, j, reasons, e.file, e.line, f))
	}
	return e.print(c, ua, j, reasons, f)
}
