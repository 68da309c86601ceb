//go:build unix

package rehearse

import (
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// descriptor is the address of a socket that this process was started with.
func descriptor(number string) (endpoint, error) {
	fd, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return endpoint{}, fmt.Errorf("descriptor %.20q is no number", number)
	}
	sa, err := unix.Getsockname(int(fd))
	if err != nil {
		return endpoint{}, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	at := func(ip net.IP, none string, port int) endpoint {
		if ip.IsUnspecified() {
			return endpoint{"tcp", net.JoinHostPort(none, strconv.Itoa(port))}
		}
		return endpoint{"tcp", net.JoinHostPort(ip.String(), strconv.Itoa(port))}
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return at(sa.Addr[:], "127.0.0.1", sa.Port), nil
	case *unix.SockaddrInet6:
		return at(sa.Addr[:], "::1", sa.Port), nil
	case *unix.SockaddrUnix:
		return endpoint{"unix", sa.Name}, nil
	}
	return endpoint{}, fmt.Errorf("descriptor %d is no socket of a known kind", fd)
}
