package delta

import (
	"bytes"
	stdbzip2 "compress/bzip2"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
)

// TestBzip2 lets the standard library decode what the encoder writes.
func TestBzip2(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	noise := make([]byte, 2_000_000)
	skewed := make([]byte, 1_000_000) // whose codes want to be longer than is allowed
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	at, step := 0, 1
	for b := byte(0); at < len(skewed); b++ {
		for range step {
			if at < len(skewed) {
				skewed[at] = b
				at++
			}
		}
		step = step*8/5 + 1
	}
	r.Shuffle(len(skewed), func(i, j int) { skewed[i], skewed[j] = skewed[j], skewed[i] })
	program, err := exec.LookPath("bzip2")
	if err != nil {
		t.Log("no bzip2 program is here:", err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "one": {5}, "three": {1, 1, 1}, "four": {1, 1, 1, 1}, "five": {1, 1, 1, 1, 1},
		"noise": noise, "skewed": skewed, "zeros": make([]byte, 3_000_000),
		"runs of 255 and 256": slices.Concat(bytes.Repeat([]byte{9}, 255), []byte{8}, bytes.Repeat([]byte{9}, 256), bytes.Repeat([]byte{7}, 511)),
		"period":              bytes.Repeat([]byte("ab"), 500_000),
		"every byte": func() (b []byte) {
			for i := range 256 {
				b = append(b, byte(i))
			}
			return b
		}(),
	} {
		packed, err := bzip2(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(stdbzip2.NewReader(bytes.NewReader(packed)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(got, b) {
			t.Errorf("%s: other bytes come out", name)
		}
		if program == "" {
			continue
		}
		cmd := exec.Command(program, "-d", "-c")
		cmd.Stdin = bytes.NewReader(packed)
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: the program reads %d bytes, %v", name, len(got), err)
		}
	}
}
