package freeport_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
)

func TestPick(t *testing.T) {
	seen := map[int]bool{}
	for range 20 {
		ports, err := freeport.Pick(5)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ports {
			if seen[p] {
				t.Errorf("port %d is given twice", p)
			}
			seen[p] = true
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				t.Error(err)
				continue
			}
			ln.Close()
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d ports, not 100", len(seen))
	}
}
