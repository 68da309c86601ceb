package clienthello

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hellos are the captured ones by their file's name: see testdata/README.md.
func hellos(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/hellos/*.hex")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d captured hellos: %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".hex")] = b
	}
	return all
}

func record(kind byte, body ...byte) []byte {
	return append([]byte{kind, 3, 1, byte(len(body) >> 8), byte(len(body))}, body...)
}

// records packs a message into records of at most size bytes.
func inRecords(msg []byte, size int) (b []byte) {
	for len(msg) > 0 {
		n := min(size, len(msg))
		b = append(b, record(recordHandshake, msg[:n]...)...)
		msg = msg[n:]
	}
	return b
}

func message(kind byte, body ...byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// feed gives the stream in segments of the given size and copies what comes out.
func feed(r *Records, stream []byte, size int) (events []Event) {
	for len(stream) > 0 {
		n := min(size, len(stream))
		segment := stream[:n]
		stream = stream[n:]
		for len(segment) > 0 {
			var e Event
			e, segment = r.Next(segment)
			if e.Kind != NoEvent {
				e.Bytes = bytes.Clone(e.Bytes)
				events = append(events, e)
			}
		}
	}
	return events
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestRecords(t *testing.T) {
	hello := hellos(t)["openssl"]
	second := bytes.Clone(hello)
	second[10] ^= 1
	finished := message(20, bytes.Repeat([]byte{7}, 32)...)
	kex := message(16, 1, 2, 3)
	ccs := record(recordChangeCipherSpec, 1)
	data := record(recordApplicationData, 1, 2, 3)
	v2 := []byte{0x80, 0x1f, 1, 0, 2, 0, 6, 0, 0, 0, 16, 0x01, 0x00, 0x80, 0x03, 0x00, 0x80}
	v2 = append(v2, bytes.Repeat([]byte{9}, 16)...)
	msg := func(m []byte) Event { return Event{Kind: Message, Type: m[0], Bytes: m} }
	end := func(k Kind) Event { return Event{Kind: k} }
	for _, c := range []struct {
		name   string
		stream []byte
		want   []Event
	}{
		{"one hello", inRecords(hello, maxRecord), []Event{msg(hello)}},
		{"over many records", inRecords(hello, 7), []Event{msg(hello)}},
		{"TLS 1.3", join(inRecords(hello, maxRecord), ccs, data), []Event{msg(hello), end(Encrypted)}},
		{"TLS 1.3 without compatibility", join(inRecords(hello, maxRecord), data), []Event{msg(hello), end(Encrypted)}},
		{"HelloRetryRequest", join(inRecords(hello, 300), ccs, inRecords(second, 50), data), []Event{msg(hello), msg(second), end(Encrypted)}},
		{"HelloRetryRequest without compatibility", join(inRecords(hello, 300), inRecords(second, 50), ccs, data), []Event{msg(hello), msg(second), end(Encrypted)}},
		{"TLS 1.2", join(inRecords(hello, 300), inRecords(kex, 100), ccs, record(recordHandshake, finished...)), []Event{msg(hello), msg(kex), end(Encrypted)}},
		{"TLS 1.2 resumed", join(inRecords(hello, 300), ccs, record(recordHandshake, bytes.Repeat([]byte{0}, 40)...)), []Event{msg(hello), end(Encrypted)}},
		{"encrypted begins as a hello does", join(inRecords(hello, 300), ccs, record(recordHandshake, join([]byte{1, 0, 0, 60, 9}, bytes.Repeat([]byte{8}, 59))...)), []Event{msg(hello), end(Encrypted)}},
		{"two messages in a record", record(recordHandshake, join(kex, hello)...), []Event{msg(kex), msg(hello)}},
		{"alert", join(inRecords(hello, 300), record(recordAlert, 2, 48)), []Event{msg(hello), {Kind: Alert, Level: 2, Description: 48}}},
		{"alert after change_cipher_spec", join(inRecords(hello, 300), ccs, record(recordAlert, 2, 42)), []Event{msg(hello), {Kind: Alert, Level: 2, Description: 42}}},
		{"alert within a message", join(inRecords(hello, 300)[:305], record(recordAlert, 1, 90)), []Event{{Kind: Alert, Level: 1, Description: 90}}},
		{"encrypted alert", join(inRecords(hello, 300), record(recordAlert, make([]byte, 26)...)), []Event{msg(hello), end(Encrypted)}},
		{"empty records", join(record(recordHandshake), inRecords(hello, 300), record(recordHandshake)), []Event{msg(hello)}},
		{"SSLv2 and an alert", join(v2, record(recordAlert, 2, 40)), []Event{{Kind: SSLv2Hello, Bytes: v2}, {Kind: Alert, Level: 2, Description: 40}}},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), []Event{end(PlainHTTP)}},
		{"HTTP/2", []byte("PRI * HTTP/2.0\r\n\r\n"), []Event{end(PlainHTTP)}},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.6\r\n"), []Event{end(NotTLS)}},
		{"a newline", []byte("\r\n"), []Event{end(NotTLS)}},
		{"RDP", []byte{3, 0, 0, 19, 14, 224, 0, 0}, []Event{end(NotTLS)}},
		{"high bytes", bytes.Repeat([]byte{0xff}, 50), []Event{end(NotTLS)}},
		{"wrong version", []byte{22, 4, 1, 0, 5, 1, 2, 3, 4, 5}, []Event{end(NotTLS)}},
		{"long record", []byte{22, 3, 1, 0xff, 0xff, 1}, []Event{end(NotTLS)}},
		{"data first", data, []Event{end(NotTLS)}},
		{"huge message", join(record(recordHandshake, 1, 0xff, 0xff, 0xff), inRecords(make([]byte, 100_000), 16384)), []Event{end(TooLong)}},
		{"many messages", bytes.Repeat(record(recordHandshake, message(16, make([]byte, 1000)...)...), 3), []Event{
			msg(message(16, make([]byte, 1000)...)), msg(message(16, make([]byte, 1000)...)), msg(message(16, make([]byte, 1000)...))}},
	} {
		for _, size := range []int{1 << 20, 1460, 100, 6, 5, 3, 1} {
			var r Records
			got := feed(&r, c.stream, size)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Fatalf("%s in segments of %d (-want +got):\n%s", c.name, size, diff)
			}
		}
	}
}

// No stream makes Records keep more than its bound, or read on for ever.
func TestRecordsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, endless := range map[string]func() []byte{
		"empty records": func() []byte { return record(recordHandshake) },
		"alerts":        func() []byte { return record(recordAlert, 1, 0) },
		"small":         func() []byte { return record(recordHandshake, 1, 0, 0, 0) },
		"long":          func() []byte { return inRecords(message(1, make([]byte, MaxClear-100)...), 1+rng.IntN(maxRecord)) },
	} {
		var r Records
		for fed := 0; r.Ended() == NoEvent; {
			b := endless()
			feed(&r, b, 1000)
			if fed += len(b); fed > 3*MaxClear || cap(r.buf) > 2*MaxClear {
				t.Fatalf("%s: %d bytes read, %d kept", name, fed, cap(r.buf))
			}
		}
		if r.Ended() != TooLong || r.buf != nil {
			t.Errorf("%s: ended with %d, %d bytes kept", name, r.Ended(), cap(r.buf))
		}
	}
}

func TestRecordsDoesNotAllocate(t *testing.T) {
	stream := inRecords(hellos(t)["openssl"], maxRecord)
	var r Records
	n := testing.AllocsPerRun(100, func() {
		r = Records{}
		if e, _ := r.Next(stream); e.Kind != Message {
			t.Fatal(e)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a hello in one segment", n)
	}
}

// However a stream is cut into segments, the same comes out.
func FuzzRecords(f *testing.F) {
	for _, h := range hellos(f) {
		f.Add(inRecords(h, maxRecord), uint16(1460))
		f.Add(join(inRecords(h, 100), record(recordChangeCipherSpec, 1), inRecords(h, 200), record(recordAlert, 2, 40)), uint16(7))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(3))
	f.Add([]byte{0x80, 0x0f, 1, 0, 2, 0, 3, 0, 0, 0, 3, 1, 0, 0x80, 4, 5, 6, 22, 3, 0}, uint16(2))
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		var whole, cut Records
		want := feed(&whole, stream, len(stream)+1)
		got := feed(&cut, stream, int(size)+1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if cap(cut.buf) > 2*MaxClear {
			t.Fatalf("keeps %d bytes", cap(cut.buf))
		}
		var h Hello
		for _, e := range got {
			switch e.Kind {
			case Message:
				_ = h.Parse(e.Bytes)
			case SSLv2Hello:
				_ = h.ParseSSLv2(e.Bytes)
			}
		}
	})
}
