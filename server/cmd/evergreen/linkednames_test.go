package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A shelf has this test's own executable under several names, and counts how
// often it is read.
type shelf struct {
	sums map[string]string // → file
	read []string
}

func (s *shelf) FindExecutable(sum, _ string) (wire.Target, bool) {
	_, ok := s.sums[sum]
	return wire.Target{}, ok
}

func (s *shelf) OpenTarget(_ context.Context, sum string) (io.ReadSeekCloser, error) {
	s.read = append(s.read, sum)
	return os.Open(s.sums[sum])
}

// TestLinkedNames: each published executable is read once, and a bounded number
// is kept.
func TestLinkedNames(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{sums: map[string]string{"broken": "main_test.go"}}
	for i := range maxLinkedNames + 1 {
		s.sums[fmt.Sprint(i)] = self
	}
	var l linkedNames
	ask := func(sum string) bool {
		t.Helper()
		n, err := l.of(t.Context(), s, sum)
		if err != nil {
			t.Fatal(err)
		}
		return n != nil && n.Symbol("encoding/json", "Unmarshal") && !n.Symbol("encoding/json", "Nonsense")
	}
	if ask("unknown") {
		t.Error("an executable that was not published is known")
	}
	for _, sum := range []string{"0", "1", "0"} {
		if !ask(sum) {
			t.Errorf("nothing is known of %s", sum)
		}
	}
	for i := range maxLinkedNames + 1 {
		ask(fmt.Sprint(i))
	}
	// The last that was used longest ago made room: it is read again, 8 is not.
	ask(fmt.Sprint(maxLinkedNames))
	if len(l.names) != maxLinkedNames || len(l.order) != maxLinkedNames {
		t.Errorf("%d are kept, in an order of %d", len(l.names), len(l.order))
	}
	if d := cmp.Diff([]string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}, s.read); d != "" {
		t.Errorf("reads (-want +got):\n%s", d)
	}
	if _, err := l.of(t.Context(), s, "broken"); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a broken executable: error %v", err)
	}
}
