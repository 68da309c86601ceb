package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-evergreen/evergreen/wire"
)

const clientAbout = `
A change needs a proof of who asks: a token, in the environment as
EVERGREEN_TOKEN or in --token-file, or a key in --key (PEM, as
` + "`evergreen release key`" + ` and ` + "`openssl genpkey -algorithm ed25519`" + ` make them).`

// A client asks a running service.
type client struct {
	server, tokenFile, keyFile string
	json                       bool
}

// clientFlags adds the flags that all commands have which ask a service.
func (c *client) flags(fs *flag.FlagSet) {
	c.readFlags(fs)
	fs.StringVar(&c.tokenFile, "token-file", "", "`FILE` with your token")
	fs.StringVar(&c.keyFile, "key", "", "`FILE` with your key")
	fs.BoolVar(&c.json, "json", false, "print the answer as JSON")
}

// readFlags are those of commands that only read what is public.
func (c *client) readFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.server, "server", cmp.Or(os.Getenv("EVERGREEN_SERVER"), "http://"+defaultConfig().Listen), "`URL` of the service; also from EVERGREEN_SERVER")
}

// interleaved parses flags that may come after arguments, too, and answers
// the arguments.
func interleaved(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", err, errUsage)
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}

const maxAnswer = 32 << 20

func (c *client) get(ctx context.Context, path string, q url.Values, into any) error {
	return c.do(ctx, http.MethodGet, path, q, nil, into)
}

// post asks for a change.
func (c *client) post(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, nil, b, into)
}

func (c *client) do(ctx context.Context, method, path string, q url.Values, body []byte, into any) error {
	u, err := url.Parse(c.server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("--server is %.100q: it should be a URL such as https://updates.example", c.server)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.JoinPath(path).String()+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "evergreen")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", wire.TypeJSON)
		if err := c.prove(r, path, body); err != nil {
			return err
		}
	}
	// A redirect would carry the proof elsewhere, or turn a change into a question.
	asker := http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := asker.Do(r)
	if err != nil {
		return fmt.Errorf("asking the service: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the service's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var p wire.Problem
		if json.Unmarshal(answer, &p) != nil || p.Title == "" {
			return fmt.Errorf("the service at %s answers %s: is it an Evergreen with releases?", u.Redacted(), resp.Status)
		}
		return errors.New(printable(p.Title + ": " + p.Detail))
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("reading the service's answer: %w", err)
	}
	return nil
}

// prove adds a token or a signature.
func (c *client) prove(r *http.Request, path string, body []byte) error {
	token := os.Getenv("EVERGREEN_TOKEN")
	switch {
	case c.keyFile != "":
		key, err := readKey(c.keyFile)
		if err != nil {
			return err
		}
		at := strconv.FormatInt(time.Now().UnixMilli(), 10)
		r.Header.Set(wire.HeaderKey, hex.EncodeToString(key.Public().(ed25519.PublicKey)))
		r.Header.Set(wire.HeaderTime, at)
		r.Header.Set(wire.HeaderSignature, hex.EncodeToString(wire.Sign(key, wire.PurposeChange, wire.ChangeContent(path, at, body))))
		return nil
	case c.tokenFile != "":
		b, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return err
		}
		token = strings.TrimSpace(string(b))
	case token == "":
		return errors.New("who asks? Set EVERGREEN_TOKEN, or name a file with --token-file or --key")
	}
	if r.URL.Scheme != "https" && !loopback(r.URL.Hostname()) {
		return fmt.Errorf("a token is not sent to %s without TLS: use https, or a key", r.URL.Host)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// readKey reads an Ed25519 key in PEM (PKCS #8).
func readKey(file string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s holds no private key: `evergreen release key FILE` makes one", file)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := k.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 key: `evergreen release key FILE` makes one", file)
	}
	return key, nil
}

// publicKey reads a public key: 64 hexadecimal digits, or a file in PEM.
func publicKey(s string) (ed25519.PublicKey, error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == ed25519.PublicKeySize {
		return b, nil
	}
	b, err := os.ReadFile(s)
	if err != nil {
		return nil, fmt.Errorf("a public key is 64 hexadecimal digits, or a file: %w", err)
	}
	if block, _ := pem.Decode(b); block != nil && block.Type == "PUBLIC KEY" {
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if key, ok := k.(ed25519.PublicKey); ok && err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%s holds no public Ed25519 key in PEM", s)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printable keeps what a service says from commanding a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

// row writes a row of a table, whose cells a service said.
func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, strings.ReplaceAll(printable(fmt.Sprint(c)), "\n", " "))
	}
	fmt.Fprintln(w)
}
