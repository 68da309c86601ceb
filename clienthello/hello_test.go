package clienthello

import (
	"crypto/tls"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	var h Hello
	if err := h.Parse(hellos(t)["openssl"]); err != nil {
		t.Fatal(err)
	}
	want := Hello{
		Length: 328, LegacyVersion: 0x0303, SessionIDLength: 32,
		CipherSuites: []uint16{0x1302, 0x1303, 0x1301, 0xc02c, 0xc030, 0x9f, 0xcca9, 0xcca8, 0xccaa, 0xc02b, 0xc02f, 0x9e, 0xc024, 0xc028, 0x6b,
			0xc023, 0xc027, 0x67, 0xc00a, 0xc014, 0x39, 0xc009, 0xc013, 0x33, 0x9d, 0x9c, 0x3d, 0x3c, 0x35, 0x2f, 0xff},
		Compressions: []uint8{0},
		Extensions:   []uint16{0, 11, 10, 35, 16, 22, 23, 13, 43, 45, 51},
		ServerName:   "localhost",
		Groups:       []uint16{29, 23, 30, 25, 24, 0x100, 0x101, 0x102, 0x103, 0x104},
		PointFormats: []uint8{0, 1, 2},
		SignatureSchemes: []uint16{0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806,
			0x0401, 0x0501, 0x0601, 0x0303, 0x0301, 0x0302, 0x0402, 0x0502, 0x0602},
		ALPN:      []string{"h2", "http/1.1"},
		Versions:  []uint16{0x0304, 0x0303, 0x0302, 0x0301},
		KeyShares: []uint16{29},
		PSKModes:  []uint8{1},
	}
	if diff := cmp.Diff(want, h, cmp.Transformer("nil", func(s []uint16) []uint16 { return append([]uint16{}, s...) }),
		cmp.Transformer("nil32", func(s []uint32) []uint32 { return append([]uint32{}, s...) })); diff != "" {
		t.Error(diff)
	}

	// What only a browser sends.
	if err := h.Parse(hellos(t)["chromium"]); err != nil {
		t.Fatal(err)
	}
	if !h.ECH || !IsGREASE(h.CipherSuites[0]) || !IsGREASE(h.Extensions[0]) || !slices.Contains(h.KeyShares, 0x11ec) || !cmp.Equal(h.CertCompressions, []uint16{2}) ||
		h.MaxVersion() != 0x0304 || h.PSK || h.EarlyData || h.SessionTicket {
		t.Errorf("chromium's: %+v", h)
	}
}

// The expected values were printed by tshark: see testdata/README.md.
func TestJA3(t *testing.T) {
	f, err := os.Open("testdata/ja3.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma = '\t'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := hellos(t)
	if len(rows)-1 != len(all) {
		t.Errorf("%d rows for %d hellos", len(rows)-1, len(all))
	}
	for _, row := range rows[1:] {
		var h Hello
		if err := h.Parse(all[row[0]]); err != nil {
			t.Errorf("%s: %v", row[0], err)
		}
		if diff := cmp.Diff(row[1:], []string{h.JA3(), h.JA3String()}); diff != "" {
			t.Errorf("%s: %s", row[0], diff)
		}
	}
}

// The values in the specification's own text and examples.
func TestJA4(t *testing.T) {
	chrome := Hello{
		LegacyVersion: 0x0303,
		CipherSuites:  []uint16{0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x9c, 0x9d, 0x2f, 0x35},
		Extensions:    []uint16{0x3a3a, 0x1b, 0, 0x33, 0x10, 0x4469, 0x17, 0x2d, 0x0d, 5, 0x23, 0x12, 0x2b, 0xff01, 0x0b, 0x0a, 0x15},
		SignatureSchemes: []uint16{
			0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
		ALPN:     []string{"h2", "http/1.1"},
		Versions: []uint16{0x8a8a, 0x0304, 0x0303},
	}
	if got, want := chrome.JA4(), "t13d1516h2_8daaf6152771_e5627efa2ab1"; got != want {
		t.Errorf("JA4 is %s, want %s", got, want)
	}
	if got, want := chrome.JA4Raw(), "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9"+
		"_0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_0403,0804,0401,0503,0805,0501,0806,0601"; got != want {
		t.Errorf("JA4_r is %s, want %s", got, want)
	}
	many := make([]uint16, 300)
	for i := range many {
		many[i] = uint16(i)
	}
	for _, c := range []struct {
		h    Hello
		want string
	}{
		{Hello{}, "t00i000000"},
		{Hello{Transport: QUIC, LegacyVersion: 0x0303, ALPN: []string{"h3"}}, "q12i0000h3"},
		{Hello{LegacyVersion: 0x0300, ALPN: []string{""}}, "ts3i000000"},
		{Hello{LegacyVersion: 0x0002}, "ts2i000000"},
		{Hello{LegacyVersion: 0xfefd}, "td2i000000"},
		{Hello{LegacyVersion: 0x0303, Versions: []uint16{0x0a0a}}, "t00i000000"},
		{Hello{LegacyVersion: 0x0301, ALPN: []string{"a"}, CipherSuites: many, Extensions: many}, "t10d9999aa"},
		{Hello{LegacyVersion: 0x0301, ALPN: []string{"\xab"}}, "t10i0000ab"},
		{Hello{LegacyVersion: 0x0301, ALPN: []string{"\xab\xcd"}}, "t10i0000ad"},
		{Hello{LegacyVersion: 0x0301, ALPN: []string{"\x30\xab"}}, "t10i00003b"},
		{Hello{LegacyVersion: 0x0301, ALPN: []string{"\x30\x31\xab\xcd"}}, "t10i00003d"},
		{Hello{LegacyVersion: 0x0301, ALPN: []string{"\x30\xab\xcd\x31"}}, "t10i000001"},
	} {
		got := c.h.JA4()
		if len(got) != 36 || got[:10] != c.want || len(c.h.CipherSuites) == 0 && got[10:] != "_000000000000_000000000000" {
			t.Errorf("%s for %+v, want %s", got, c.h, c.want)
		}
	}
}

func TestParseMalformed(t *testing.T) {
	good := hellos(t)["chromium"]
	var h Hello
	for n := range good {
		if err := h.Parse(good[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
		// The same with a right length in its header.
		if n < 4 {
			continue
		}
		cut := message(1, good[4:n]...)
		if err := h.Parse(cut); err == nil && len(h.Extensions) > 0 {
			t.Fatalf("the first %d bytes, with their length: no error", n)
		}
	}
	if err := h.Parse(message(2, good[4:]...)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a ServerHello: %v", err)
	}
	if err := h.Parse(append(slices.Clone(good), 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte more: %v", err)
	}

	// One bad extension leaves the others readable.
	body := slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, 0, 2, 0x13, 1, 1, 0},
		[]byte{0, 15, 0, 10, 0, 3, 0, 9, 0, 0, 43, 0, 3, 2, 3, 4, 0})
	body[len(body)-1-15] = 14 // without the last byte, which is none of the list's
	if err := h.Parse(message(1, body[:len(body)-1]...)); !errors.Is(err, ErrMalformed) || !cmp.Equal(h.Versions, []uint16{0x0304}) {
		t.Errorf("a bad list of groups: %v, %+v", err, h)
	}
}

func TestParseOld(t *testing.T) {
	// SSL 3.0 as in its time: no extensions at all.
	ssl3 := message(1, slices.Concat([]byte{3, 0}, make([]byte, 32), []byte{0, 0, 4, 0, 4, 0, 0x0a, 1, 0})...)
	var h Hello
	if err := h.Parse(ssl3); err != nil || h.JA3String() != "768,4-10,,," || h.JA4()[:10] != "ts3i020000" {
		t.Errorf("SSL 3.0: %v, %s, %s", err, h.JA3String(), h.JA4())
	}
	v2 := []byte{0x80, 0x25, 1, 3, 1, 0, 12, 0, 0, 0, 16, 0, 0, 0x2f, 0, 0, 0x35, 1, 0, 0x80, 0, 0, 0xff}
	v2 = append(v2, make([]byte, 16)...)
	if err := h.ParseSSLv2(v2); err != nil || !h.SSLv2 || h.LegacyVersion != 0x0301 || h.JA3String() != "769,47-53-255,,," ||
		!cmp.Equal(h.SSLv2Ciphers, []uint32{0x010080}) || h.JA4()[:10] != "t10i030000" {
		t.Errorf("SSLv2: %v, %+v", err, h)
	}
	for n := range v2 {
		if err := h.ParseSSLv2(v2[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	v2[6] = 11
	if err := h.ParseSSLv2(v2); !errors.Is(err, ErrMalformed) {
		t.Errorf("cipher kinds of 11 bytes: %v", err)
	}
}

// The second hello, after a server's HelloRetryRequest, as OpenSSL sent it.
func TestHelloRetryRequest(t *testing.T) {
	text, err := os.ReadFile("testdata/openssl-hrr.stream.hex")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	var shares [][]uint16
	var r Records
	for _, e := range feed(&r, stream, 100) {
		if e.Kind == Message {
			var h Hello
			if err := h.Parse(e.Bytes); err != nil {
				t.Fatal(err)
			}
			shares = append(shares, h.KeyShares)
		}
	}
	if diff := cmp.Diff([][]uint16{{29}, {25}}, shares); diff != "" || r.Ended() != Encrypted {
		t.Errorf("%s, ended with %d", diff, r.Ended())
	}
}

// What crypto/tls tells of a hello gives the JA4 that its bytes give.
func TestFromClientHelloInfo(t *testing.T) {
	for name, msg := range hellos(t) {
		client, server := net.Pipe()
		go func() {
			_, _ = client.Write(inRecords(msg, 1<<14))
			_, _ = io.Copy(io.Discard, client)
		}()
		var h, want Hello
		stop := errors.New("seen")
		err := tls.Server(server, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			h.FromClientHelloInfo(info, QUIC)
			return nil, stop
		}}).Handshake()
		server.Close()
		client.Close()
		if !errors.Is(err, stop) {
			t.Fatalf("%s: %v", name, err)
		}
		want.Transport = QUIC
		if err := want.Parse(msg); err != nil {
			t.Fatal(err)
		}
		if got := []string{h.JA3(), h.JA4(), h.ServerName}; !cmp.Equal(got, []string{want.JA3(), want.JA4(), want.ServerName}) || h.ECH != want.ECH {
			t.Errorf("%s: %s instead of %s", name, got, want.JA4())
		}
	}
}

// A Hello used again allocates nothing, whatever came before.
func TestNoAllocation(t *testing.T) {
	all := hellos(t)
	for name, msg := range all {
		var h Hello
		var ja4 [36]byte
		if n := testing.AllocsPerRun(100, func() {
			if h.Parse(msg) != nil {
				t.Fatal(name)
			}
			h.AppendJA4(ja4[:0])
		}); n > 1 { // the server's name
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, h := range hellos(f) {
		f.Add(h)
	}
	f.Add([]byte{0x80, 0x0f, 1, 0, 2, 0, 3, 0, 0, 0, 3, 1, 0, 0x80, 4, 5, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		var fresh, used Hello
		_ = used.Parse(message(1, b...))
		_ = used.ParseSSLv2(b)
		err := fresh.Parse(b)
		if again := used.Parse(b); (again == nil) != (err == nil) {
			t.Fatalf("%v, then %v", err, again)
		}
		if fresh.JA4Raw() != used.JA4Raw() || fresh.JA3String() != used.JA3String() || fresh.ServerName != used.ServerName {
			t.Fatalf("a Hello used again reads another thing:\n%+v\n%+v", fresh, used)
		}
		if len(fresh.JA4()) != 36 {
			t.Fatal(fresh.JA4())
		}
		if n := 2*(len(fresh.CipherSuites)+len(fresh.Groups)+len(fresh.SignatureSchemes)+len(fresh.Versions)) + 4*(len(fresh.Extensions)+len(fresh.KeyShares)) + len(fresh.ServerName); n > 2*len(b) {
			t.Fatalf("%d bytes in lists of a hello of %d", n, len(b))
		}
	})
}

func BenchmarkRecordsParseJA4(b *testing.B) {
	for name, msg := range hellos(b) {
		b.Run(name, func(b *testing.B) {
			stream := inRecords(msg, 1<<14)
			var h Hello
			var ja4 [36]byte
			b.ReportAllocs()
			for b.Loop() {
				var r Records
				e, _ := r.Next(stream)
				if h.Parse(e.Bytes) != nil {
					b.Fatal("not parsed")
				}
				h.AppendJA4(ja4[:0])
			}
		})
	}
}
