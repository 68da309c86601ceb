package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func captured(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../../clienthello/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A capture is known by its first bytes, and what is cut off at its end is said.
func TestHelloCapture(t *testing.T) {
	stream := captured(t, "openssl-hrr.stream.hex")
	file := make([]byte, 24)
	binary.LittleEndian.PutUint32(file, 0xa1b2c3d4)
	binary.LittleEndian.PutUint32(file[20:], 101)
	seq := uint32(7)
	for at := 0; at < len(stream); at += 200 {
		data := stream[at:min(at+200, len(stream))]
		p := make([]byte, 16+40, 56+len(data))
		binary.LittleEndian.PutUint32(p[8:], uint32(40+len(data)))
		ip := p[16:]
		ip[0], ip[9], ip[12], ip[16] = 0x45, 6, 127, 127
		binary.BigEndian.PutUint16(ip[2:], uint16(40+len(data)))
		binary.BigEndian.PutUint16(ip[20:], 40000)
		binary.BigEndian.PutUint16(ip[22:], 443)
		binary.BigEndian.PutUint32(ip[24:], seq)
		ip[32] = 0x50
		file = append(append(file, p...), data...)
		seq += uint32(len(data))
	}
	name := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(name, append(file, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := run(context.Background(), []string{"hello", "--json", name}, &out, &out)
	if err == nil || err.Error() != "1 of 3 could not be read" {
		t.Errorf("with a byte too many: %v", err)
	}
	type row struct {
		From  string
		Again bool `json:"after_hello_retry_request"`
		Error string
	}
	var got []row
	for d := json.NewDecoder(&out); d.More(); {
		var r row
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	want := []row{{From: "127.0.0.0:40000"}, {From: "127.0.0.0:40000", Again: true}, {Error: "not a well-formed capture: it ends amid a packet"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHelloRaw(t *testing.T) {
	name := filepath.Join(t.TempDir(), "stream")
	if err := os.WriteFile(name, captured(t, "openssl-hrr.stream.hex"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(context.Background(), []string{"hello", name}, &out, &out); err != nil || strings.Count(out.String(), "a ClientHello of") != 2 {
		t.Errorf("%v: %s", err, out.String())
	}
}

// A line too long is said so, and the one behind it is read.
func TestHelloLongLine(t *testing.T) {
	in := strings.Repeat("ab", maxHelloLine) + "\n" + hex.EncodeToString(captured(t, "hellos/go.hex"))
	var out bytes.Buffer
	e := &explainer{ctx: context.Background(), out: bufio.NewWriter(&out), json: true}
	if err := e.lines(bufio.NewReader(strings.NewReader(in)), false); err != nil {
		t.Fatal(err)
	}
	if e.failed != 1 || e.explained != 1 || e.line != 2 {
		t.Errorf("%d failed, %d explained", e.failed, e.explained)
	}
}

// Whatever the input, each line of the output is an object, and none has what no line asked for.
func FuzzHello(f *testing.F) {
	h := hex.EncodeToString(captured(f, "hellos/openssl.hex"))
	f.Add([]byte(`{"hello": "`+h+`", "user_agent": "curl/8"}`+"\n{}\n"), uint8(0))
	f.Add([]byte(h+"\n16 03 01"), uint8(1))
	f.Add(captured(f, "openssl-hrr.stream.hex"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, kind uint8) {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		e := &explainer{ctx: context.Background(), out: w, json: true, userAgent: "Chrome/140"}
		r := bufio.NewReader(bytes.NewReader(in))
		var err error
		switch kind % 4 {
		case 0:
			err = e.lines(r, true)
		case 1:
			err = e.lines(r, false)
		case 2:
			err = e.raw(r)
		case 3:
			err = e.capture(r)
		}
		if err != nil || w.Flush() != nil {
			t.Fatal(err)
		}
		rows := 0
		for line := range bytes.Lines(out.Bytes()) {
			var row struct{ Verdict, Error string }
			if err := json.Unmarshal(line, &row); err != nil || (row.Verdict == "") == (row.Error == "") {
				t.Fatalf("%v: %s", err, line)
			}
			rows++
		}
		if rows != e.failed+e.explained {
			t.Fatalf("%d lines for %d", rows, e.failed+e.explained)
		}
	})
}
