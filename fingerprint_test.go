package evergreen

import (
	"math/rand/v2"
	"testing"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Hellos have the same shape if, and only if, they have the same JA4.
func TestFingerprints(t *testing.T) {
	f := newFingerprints()
	var base clienthello.Hello
	if err := base.Parse(helloOf(t)[5:]); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	shapes, ja4s := map[uint64]string{}, map[string]uint64{}
	for i := range 3000 {
		h := base
		h.CipherSuites = append([]uint16{}, h.CipherSuites...)
		h.Extensions = append([]uint16{}, h.Extensions...)
		h.SignatureSchemes = append([]uint16{}, h.SignatureSchemes...)
		switch i % 6 {
		case 0: // as Chrome does at each connection
			rng.Shuffle(len(h.Extensions), func(a, b int) { h.Extensions[a], h.Extensions[b] = h.Extensions[b], h.Extensions[a] })
			h.Extensions = append(h.Extensions, uint16(rng.IntN(16))*0x1010+0x0a0a)
		case 1:
			h.CipherSuites = append(h.CipherSuites, uint16(0xc000+rng.IntN(200)))
		case 2:
			h.Extensions = append(h.Extensions, uint16(rng.IntN(200)))
		case 3:
			s := h.SignatureSchemes
			rng.Shuffle(len(s), func(a, b int) { s[a], s[b] = s[b], s[a] })
		case 4:
			h.ALPN = []string{[]string{"h2", "http/1.1", "h3", "x"}[rng.IntN(4)]}
			h.Transport = []clienthello.Transport{clienthello.TCP, clienthello.QUIC}[rng.IntN(2)]
		case 5:
			h.Versions = append([]uint16{uint16(0x0304 + rng.IntN(2))}, h.Versions...)
		}
		ja4, got := h.JA4(), f.of(&h)
		if want := wire.JA4Value([]byte(ja4)); got.known != want {
			t.Fatalf("%s is known as %d, want %d", ja4, got.known, want)
		}
		if was, ok := shapes[got.hash]; ok && was != ja4 {
			t.Fatalf("%s has the shape of %s", ja4, was)
		}
		if was, ok := ja4s[ja4]; ok && was != got.hash && i%6 < 4 {
			t.Fatalf("%s has two shapes", ja4)
		}
		shapes[got.hash], ja4s[ja4] = ja4, got.hash
	}
	if len(shapes) < 500 {
		t.Errorf("%d shapes: the test varies nothing", len(shapes))
	}
}
