package recorder

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/wire"
)

// captured is a hello of a real client, as clienthello's tests have it.
func captured(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../clienthello/testdata/hellos/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// of sums up a metric of the open window by its first dimension.
func of(r *Recorder, id wire.MetricID) map[string]uint64 {
	m := r.metric(id)
	got := map[string]uint64{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, n := range r.read(m) {
		if n > 0 {
			got[m.def.Dims[0].ValueName(m.dims(uint32(i))[0])] += n
		}
	}
	return got
}

func TestHelloCounts(t *testing.T) {
	r := newRecorder(t)
	family := wire.ClientFamily.Value("chromium")
	h := clienthello.Hello{Transport: clienthello.TCP}
	if err := h.Parse(captured(t, "chromium")); err != nil {
		t.Fatal(err)
	}
	r.Hello(&h, false, family)
	for id, want := range map[wire.MetricID]map[string]uint64{
		wire.TLSHellos:                {"parsed": 1},
		wire.TLSHelloGroups:           {"GREASE": 1, "X25519MLKEM768": 1, "x25519": 1, "secp256r1": 1, "secp384r1": 1},
		wire.TLSHelloKeyShares:        {"GREASE": 1, "X25519MLKEM768": 1, "x25519": 1},
		wire.TLSHelloVersions:         {"GREASE": 1, "TLS 1.3": 1, "TLS 1.2": 1},
		wire.TLSHelloLegacyVersions:   {"TLS 1.2": 1},
		wire.TLSHelloALPN:             {"h2": 1, "http/1.1": 1},
		wire.TLSHelloCompressions:     {"null": 1},
		wire.TLSHelloCertCompressions: {"brotli": 1},
		wire.TLSHelloJA4:              {"t13d1517h2_8daaf6152771_cb7bf5808d99": 1},
		wire.TLSHelloJA4Unknown:       {},
	} {
		if diff := cmp.Diff(want, of(r, id)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", wire.MetricByID(id).Name, diff)
		}
	}
	if got := of(r, wire.TLSHelloExtensions); got["other"] > 1 || got["GREASE"] != 1 || got["encrypted_client_hello"] != 1 || got["application_settings"] != 1 {
		t.Errorf("extensions %v", got)
	}
	if got := of(r, wire.TLSHelloSuites); got["other"] != 0 || len(got) != 16 {
		t.Errorf("suites %v", got)
	}
}

// Whatever a client sends, one hello counts no value twice, and takes no memory.
func TestHostileHello(t *testing.T) {
	r := newRecorder(t)
	h := clienthello.Hello{Transport: clienthello.TCP}
	for i := range 30000 {
		h.CipherSuites = append(h.CipherSuites, uint16(i%7), 0x1301)
		h.Extensions = append(h.Extensions, 0)
		h.ALPN = append(h.ALPN, "h2")
	}
	r.Hello(&h, false, 1)
	if diff := cmp.Diff(map[string]uint64{"h2": 1}, of(r, wire.TLSHelloALPN)); diff != "" {
		t.Error(diff)
	}
	for name, n := range of(r, wire.TLSHelloSuites) {
		if n != 1 {
			t.Errorf("%s counts %d times", name, n)
		}
	}
}

// The number of unknown fingerprints is exact below the bound, starts again with
// each window, and stops at the bound.
func TestUnknownFingerprints(t *testing.T) {
	r := newRecorder(t)
	see := func(n int) {
		var b [8]byte
		for i := range n {
			binary.LittleEndian.PutUint64(b[:], uint64(i))
			for range 2 {
				if r.unknown.news(maphash.Bytes(r.unknown.seed, b[:]), r.window.Load()) {
					r.Add(wire.TLSHelloJA4Unknown, wire.Dims{helloTCP}, 1)
				}
			}
		}
	}
	see(1000)
	if got := of(r, wire.TLSHelloJA4Unknown)["tcp"]; got != 1000 {
		t.Errorf("%d fingerprints, want 1000", got)
	}
	r.Close(time.Now().Add(time.Hour))
	see(1000)
	if got := of(r, wire.TLSHelloJA4Unknown)["tcp"]; got != 2000 {
		t.Errorf("%d fingerprints in two windows, want 2000", got)
	}
	r.Close(time.Now().Add(2 * time.Hour))
	see(1_000_000)
	if got := of(r, wire.TLSHelloJA4Unknown)["tcp"] - 2000; got != maxSightings {
		t.Errorf("%d fingerprints of a million, want the bound", got)
	}
}

func BenchmarkHello(b *testing.B) {
	r := newRecorder(b)
	h := clienthello.Hello{Transport: clienthello.TCP}
	if err := h.Parse(captured(b, "chromium")); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Hello(&h, false, 3)
	}
}
