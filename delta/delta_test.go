package delta_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddy-evergreen/evergreen/delta"
	"github.com/google/go-cmp/cmp"
)

var all = []delta.Method{delta.Zstd, delta.ZstdPatch, delta.Bsdiff}

// program resembles an executable: instructions that hold addresses, and text.
func program(seed uint64, n, shift int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	for len(b) < n {
		if r.IntN(4) == 0 {
			b = fmt.Appendf(b, "runtime: word %d of many\x00", r.IntN(1000))
			continue
		}
		at := r.IntN(1<<24) + shift
		b = append(b, 0xe8, byte(at), byte(at>>8), byte(at>>16), byte(r.IntN(8)))
	}
	return b[:n]
}

type pair struct {
	name       string
	old, fresh []byte
}

func pairs() []pair {
	a := program(1, 200_000, 0)
	return []pair{
		{"equal", a, a},
		{"moved addresses", a, program(1, 200_000, 4096)},
		{"inserted", a, bytes.Join([][]byte{a[:70_000], program(2, 5000, 0), a[70_000:]}, nil)},
		{"removed", a, bytes.Join([][]byte{a[:50_000], a[90_000:]}, nil)},
		{"swapped", a, bytes.Join([][]byte{a[120_000:], a[:120_000]}, nil)},
		{"unlike", program(3, 60_000, 0), program(4, 90_000, 0)},
		{"from nothing", nil, a},
		{"to nothing", a, nil},
		{"nothing", nil, nil},
		{"one byte", []byte("a"), []byte("b")},
		{"zeros", make([]byte, 1_000_000), make([]byte, 2_500_000)},
		{"a period", bytes.Repeat([]byte("abcab"), 40_000), bytes.Repeat([]byte("abcab"), 50_000)},
	}
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

func make1(t testing.TB, m delta.Method, old, fresh []byte) []byte {
	t.Helper()
	var patch bytes.Buffer
	h, err := delta.Make(t.Context(), old, fresh, m, &patch)
	if err != nil {
		t.Fatal(err)
	}
	if h.Size() != int64(patch.Len()) {
		t.Fatalf("a patch of %d bytes says it has %d", patch.Len(), h.Size())
	}
	return patch.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, p := range pairs() {
		for _, m := range all {
			t.Run(fmt.Sprintf("%s/%v", p.name, m), func(t *testing.T) {
				patch := make1(t, m, p.old, p.fresh)
				var out bytes.Buffer
				h, err := delta.Apply(section(p.old), bytes.NewReader(patch), &out, delta.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(out.Bytes(), p.fresh) {
					t.Error("another file came out")
				}
				want := delta.Header{Method: m, NewSize: int64(len(p.fresh)), NewSHA256: sha256.Sum256(p.fresh), Payload: int64(len(patch)) - delta.HeaderSize}
				if m != delta.Zstd {
					want.OldSize, want.OldSHA256 = int64(len(p.old)), sha256.Sum256(p.old)
				}
				if d := cmp.Diff(want, h); d != "" {
					t.Errorf("header (-want +got):\n%s", d)
				}
			})
		}
	}
}

// TestSizes says what each method is for.
func TestSizes(t *testing.T) {
	p := pairs()[1]
	whole, quick, small := len(make1(t, delta.Zstd, p.old, p.fresh)), len(make1(t, delta.ZstdPatch, p.old, p.fresh)), len(make1(t, delta.Bsdiff, p.old, p.fresh))
	if small*2 > quick || quick > whole {
		t.Errorf("moved addresses: zstd %d, zstd-patch %d, bsdiff %d bytes: each should be smaller, bsdiff by half", whole, quick, small)
	}
}

// TestHostile changes each part of patches: none gets through.
func TestHostile(t *testing.T) {
	a := program(1, 20_000, 0)
	fresh := program(1, 21_000, 512)
	for _, m := range all {
		patch := make1(t, m, a, fresh)
		for i := range patch {
			if i > 400 && i%17 != 0 {
				continue
			}
			for _, flip := range []byte{1, 0x80} {
				bad := bytes.Clone(patch)
				bad[i] ^= flip
				var out bytes.Buffer
				if _, err := delta.Apply(section(a), bytes.NewReader(bad), &out, delta.Limits{}); err == nil && !bytes.Equal(out.Bytes(), fresh) {
					t.Fatalf("%v: byte %d changed: another file came out, and no error", m, i)
				}
			}
		}
		for _, n := range []int{0, 1, 8, delta.HeaderSize - 1, delta.HeaderSize, delta.HeaderSize + 20, len(patch) - 1} {
			if _, err := delta.Apply(section(a), bytes.NewReader(patch[:n]), io.Discard, delta.Limits{}); err == nil {
				t.Errorf("%v: cut after %d of %d bytes: no error", m, n, len(patch))
			}
		}
		if _, err := delta.Apply(section(a), bytes.NewReader(append(bytes.Clone(patch), 0)), io.Discard, delta.Limits{}); !errors.Is(err, delta.ErrFormat) {
			t.Errorf("%v: a byte follows: %v", m, err)
		}
		if _, err := delta.Apply(section(a), bytes.NewReader(patch), io.Discard, delta.Limits{Size: int64(len(fresh)) - 1}); !errors.Is(err, delta.ErrLimit) {
			t.Errorf("%v: the result is too large: %v", m, err)
		}
		if _, err := delta.Apply(section(a), bytes.NewReader(patch), io.Discard, delta.Limits{SHA256: sha256.Sum256(a)}); !errors.Is(err, delta.ErrResult) {
			t.Errorf("%v: another result is expected: %v", m, err)
		}
		if m == delta.Zstd {
			continue
		}
		other := bytes.Clone(a)
		other[777]++
		for name, old := range map[string]*io.SectionReader{"other": section(other), "shorter": section(a[:100]), "no": nil} {
			if _, err := delta.Apply(old, bytes.NewReader(patch), io.Discard, delta.Limits{}); !errors.Is(err, delta.ErrOld) {
				t.Errorf("%v: %s old file: %v", m, name, err)
			}
		}
	}
}

// TestZstdBomb is a small frame that says it holds much.
func TestZstdBomb(t *testing.T) {
	bomb := make1(t, delta.Zstd, nil, make([]byte, 64<<20))
	if len(bomb) > 64<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	for _, patch := range [][]byte{bomb, bomb[delta.HeaderSize:]} {
		if _, err := delta.Apply(nil, bytes.NewReader(patch), io.Discard, delta.Limits{Size: 1 << 20, SHA256: sha256.Sum256(make([]byte, 64<<20))}); !errors.Is(err, delta.ErrLimit) {
			t.Errorf("the bomb went off: %v", err)
		}
	}
}

// TestZstdProgram reads what the zstd program writes, and lets it read ours.
func TestZstdProgram(t *testing.T) {
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Log("no zstd program is here:", err)
		return
	}
	p := pairs()[2]
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(zstd, args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("zstd %v: %v", args, err)
		}
		return out
	}
	old, fresh := write("old", p.old), write("new", p.fresh)
	theirs := run("-19", "-q", "-c", "--patch-from="+old, fresh)
	var out bytes.Buffer
	if _, err := delta.Apply(section(p.old), bytes.NewReader(theirs), &out, delta.Limits{SHA256: sha256.Sum256(p.fresh)}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), p.fresh) {
		t.Error("another file came out")
	}
	if _, err := delta.Apply(section(p.old), bytes.NewReader(theirs), io.Discard, delta.Limits{}); !errors.Is(err, delta.ErrFormat) {
		t.Errorf("a bare frame without a hash: %v", err)
	}
	ours := make1(t, delta.ZstdPatch, p.old, p.fresh)[delta.HeaderSize:]
	if got := run("-d", "-q", "-c", "--long=31", "--patch-from="+old, write("ours.zst", ours)); !bytes.Equal(got, p.fresh) {
		t.Error("the zstd program reads another file from our patch")
	}
}

func TestMakeEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	cancel(stop)
	if _, err := delta.Make(ctx, program(1, 300_000, 0), program(2, 300_000, 0), delta.Bsdiff, io.Discard); !errors.Is(err, stop) {
		t.Errorf("the error is %v", err)
	}
}

func FuzzApply(f *testing.F) {
	old, fresh := program(1, 3000, 0), program(1, 3200, 64)
	for _, m := range all {
		f.Add(make1(f, m, old, fresh))
	}
	f.Add(make1(f, delta.ZstdPatch, old, fresh)[delta.HeaderSize:])
	f.Fuzz(func(t *testing.T, patch []byte) {
		limits := delta.Limits{Size: 1 << 20, Memory: 8 << 20}
		if len(patch) >= delta.HeaderSize && patch[0] != 0xe9 {
			limits.SHA256 = sha256.Sum256(fresh)
		}
		var out bytes.Buffer
		h, err := delta.Apply(section(old), bytes.NewReader(patch), &out, limits)
		if int64(out.Len()) > limits.Size {
			t.Fatalf("%d bytes came out", out.Len())
		}
		if err == nil && (sha256.Sum256(out.Bytes()) != h.NewSHA256 || int64(out.Len()) != h.NewSize) {
			t.Fatal("no error, and not the promised file")
		}
	})
}

// FuzzRoundTrip makes patches between any two files.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("an old file"), []byte("a new file"), byte(3))
	f.Add(program(1, 300, 0), program(1, 400, 8), byte(2))
	f.Add(bytes.Repeat([]byte{0}, 600), bytes.Repeat([]byte{0, 1}, 300), byte(3))
	f.Fuzz(func(t *testing.T, old, fresh []byte, method byte) {
		m := all[int(method)%len(all)]
		var out bytes.Buffer
		if _, err := delta.Apply(section(old), bytes.NewReader(make1(t, m, old, fresh)), &out, delta.Limits{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), fresh) {
			t.Fatal("another file came out")
		}
	})
}
