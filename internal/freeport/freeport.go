// Package freeport picks TCP and UDP ports on loopback for servers that a test,
// a demonstration or the rehearsal of an update starts, and that take a number,
// not a socket.
//
// A port from Listen(":0") won't do. It lies in the range that the kernel takes
// clients' ports from, so that between the pick and the server's start a
// connection may be given it; and a second pick may return it again. These lie
// outside that range, and no process is given one twice.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// From first up to last, which Linux (32768), and BSD, macOS and Windows
// (49152) do not take clients' ports from.
const first, last = 10_000, 32_000

var given sync.Map // of ports

// Pick returns n ports that nobody listens on, each for TCP and UDP.
func Pick(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := first + rand.IntN(last-first)
		if _, again := given.LoadOrStore(port, true); !again && free(port) {
			ports = append(ports, port)
		}
	}
	return nil, errors.New("finding free ports on loopback: almost all are taken; end what listens there, and try again")
}

// free tries all addresses, since a server may bind any.
func free(port int) bool {
	addr := fmt.Sprintf(":%d", port)
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	udp.Close()
	return true
}
