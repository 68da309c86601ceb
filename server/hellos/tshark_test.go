//go:build e2e

package hellos

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/clienthello"
)

// TestE2ETshark writes every hello that the project has captured or made into a
// pcap, has tshark (Debian's package of that name) print their JA3, and compares.
// A hello of QUIC goes over TCP there: JA3 does not depend on that.
func TestE2ETshark(t *testing.T) {
	var messages [][]byte
	var names []string
	for _, file := range []string{
		"../../clients/testdata/hellos/captures.jsonl", "../../clients/testdata/hellos/captures-quic.jsonl", "../../clients/testdata/hellos/parrots.jsonl",
		"../testbed/programs/testdata/captures.jsonl",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var s struct {
				Name, Client, Hello string
			}
			if err := json.Unmarshal(line, &s); err != nil {
				t.Fatal(err)
			}
			b, err := hex.DecodeString(s.Hello)
			if err != nil {
				t.Fatal(err)
			}
			messages, names = append(messages, b), append(names, filepath.Base(file)+" "+s.Name+s.Client)
		}
	}
	capture := filepath.Join(t.TempDir(), "hellos.pcap")
	if err := os.WriteFile(capture, pcapOf(messages), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "tshark", "-r", capture, "-Y", "tls.handshake.type == 1", "-T", "fields",
		"-e", "tcp.srcport", "-e", "tls.handshake.ja3", "-e", "tls.handshake.ja3_full")
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("tshark: %v\n%s", err, problems.String())
	}
	got, want := map[string][]string{}, map[string][]string{}
	for i, b := range messages {
		var h clienthello.Hello
		if err := h.Parse(b); err != nil {
			t.Fatalf("%s: %v", names[i], err)
		}
		got[names[i]] = append(got[names[i]], h.JA3(), h.JA3String())
	}
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 1<<16)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		port, err := strconv.Atoi(fields[0])
		if err != nil || len(fields) != 3 {
			t.Fatalf("tshark printed %q", lines.Text())
		}
		name := names[port-firstPort]
		want[name] = append(want[name], fields[1:]...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-tshark +ours):\n%s", diff)
	}
	t.Logf("%d hellos", len(messages))
}

const firstPort = 20000

// pcapOf is a capture of raw IPv4 in which each hello is sent over a connection
// of its own: from ports counted from firstPort, in one segment.
func pcapOf(messages [][]byte) []byte {
	b := []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x65\x00\x00\x00")
	for i, msg := range messages {
		size := 40 + 5 + len(msg)
		packet := make([]byte, 40, size)
		packet[0], packet[8], packet[9] = 0x45, 64, 6
		binary.BigEndian.PutUint16(packet[2:], uint16(size))
		copy(packet[12:], "\x7f\x00\x00\x01\x7f\x00\x00\x01")
		tcp := packet[20:]
		binary.BigEndian.PutUint16(tcp, uint16(firstPort+i))
		binary.BigEndian.PutUint16(tcp[2:], 443)
		tcp[7], tcp[12], tcp[13] = 1, 0x50, 0x18
		packet = append(packet, 0x16, 3, 1, byte(len(msg)>>8), byte(len(msg)))
		packet = append(packet, msg...)
		b = append(b, make([]byte, 8)...) // the time
		b = binary.LittleEndian.AppendUint32(b, uint32(size))
		b = binary.LittleEndian.AppendUint32(b, uint32(size))
		b = append(b, packet...)
	}
	return b
}
