package reporter

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// testWindow is a window that is told from others by its start.
func testWindow(start int64) *wire.Window {
	return &wire.Window{Start: start, Seconds: 300, Series: []*wire.Series{{
		Metric: uint32(wire.HTTPRequests),
		Cells:  []uint64{uint64(wire.Dims{2, 101, 1}.Cell())},
		Values: []uint64{uint64(start)},
	}}}
}

// noisyWindow is a window of about the given number of bytes that don't compress.
func noisyWindow(start int64, bytes int) *wire.Window {
	random := rand.New(rand.NewPCG(uint64(start), 1))
	s := &wire.Series{Metric: uint32(wire.HTTPRequests)}
	for range bytes / 19 {
		s.Cells = append(s.Cells, random.Uint64()|1<<63)
		s.Values = append(s.Values, random.Uint64()|1<<62)
	}
	return &wire.Window{Start: start, Seconds: 300, Series: []*wire.Series{s}}
}

func TestBodyRoundTrip(t *testing.T) {
	rep := &wire.Report{
		Dictionary: wire.DictionaryVersion, Number: 7, Created: 1_800_000_000,
		Facts:   &wire.Facts{CaddyVersion: "v2.11.9", Modules: []*wire.Module{{Path: "example.com/plugin", Version: "v1.0.0", Plugin: true}}},
		Windows: []*wire.Window{testWindow(0), testWindow(300)},
	}
	body, err := encode(rep)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(body)
	if diff := cmp.Diff(rep, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v, -want +got\n%s", err, diff)
	}
	for i := range body {
		damaged := bytes.Clone(body)
		damaged[i] ^= 0x10
		// Some bits of zstd's header have no meaning.
		if got, err := decode(damaged); err == nil && !proto.Equal(got, rep) || err != nil && !errors.Is(err, errUnreadable) {
			t.Errorf("byte %d damaged: %v, %v", i, got, err)
		}
		if rep, err := decode(body[:i]); !errors.Is(err, errUnreadable) {
			t.Errorf("cut to %d bytes: %v, %v", i, rep, err)
		}
	}
}

func TestBodyKeepsTheLimitsOfAReport(t *testing.T) {
	many := make([]*wire.Window, wire.MaxWindows+1)
	for i := range many {
		many[i] = testWindow(int64(i) * 300)
	}
	flat := noisyWindow(0, 19)
	for len(flat.Series[0].Cells) < wire.MaxReport/2 { // compresses to nothing
		flat.Series[0].Cells = append(flat.Series[0].Cells, flat.Series[0].Cells...)
	}
	for name, windows := range map[string][]*wire.Window{
		"windows":    many,
		"plain":      {flat},
		"compressed": {noisyWindow(0, wire.MaxBody+1000)},
	} {
		if _, err := encode(&wire.Report{Number: 1, Windows: windows}); !errors.Is(err, errTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := encode(&wire.Report{Number: 1, Windows: many[1:]}); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, rep := range []*wire.Report{
		{Number: 1, Windows: []*wire.Window{testWindow(300)}},
		{Number: 1<<63 + 1, Facts: &wire.Facts{Os: "linux"}, Windows: []*wire.Window{{}, testWindow(0)}},
		{Number: 3, Windows: []*wire.Window{noisyWindow(0, 500)}},
	} {
		body, err := encode(rep)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		plain, _ := proto.Marshal(rep)
		f.Add(plain)
	}
	f.Add([]byte{})
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, body []byte) {
		rep, err := decode(body)
		if err != nil {
			if !errors.Is(err, errUnreadable) {
				t.Fatalf("not errUnreadable: %v", err)
			}
			return
		}
		again, err := encode(rep)
		if errors.Is(err, errTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(again)
		if diff := cmp.Diff(rep, got, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%v, -want +got\n%s", err, diff)
		}
	})
}
