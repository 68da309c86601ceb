package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"
)

// Instructions of classic BPF (linux/bpf_common.h) that are used.
const (
	bpfLoadByte  = 0x30 // A = packet[K]
	bpfIfSet     = 0x45 // if A & K
	bpfIfAtLeast = 0x35 // if A >= K
	bpfReturn    = 0x06
)

// to steers everything to a socket, by its number.
func to(number uint32) []unix.SockFilter {
	return []unix.SockFilter{{Code: bpfReturn, K: number}}
}

// quicTo steers the first packets of new QUIC connections to a socket, and all
// other datagrams to another: a long header with a destination id of 8 bytes or
// more was made by a client that has no connection yet (RFC 9000, 7.2); ids that
// a server chose are shorter in quic-go.
func quicTo(fresh, rest uint32) []unix.SockFilter {
	return []unix.SockFilter{
		{Code: bpfLoadByte, K: 0},
		{Code: bpfIfSet, Jt: 0, Jf: 3, K: 0x80},
		{Code: bpfLoadByte, K: 5},
		{Code: bpfIfAtLeast, Jt: 0, Jf: 1, K: 8},
		{Code: bpfReturn, K: fresh},
		{Code: bpfReturn, K: rest},
	}
}

// soDetachReuseportBPF is SO_DETACH_REUSEPORT_BPF, since Linux 5.3.
const soDetachReuseportBPF = 68

// program on a descriptor; nil detaches.
func program(fd int, p []unix.SockFilter) error {
	if p != nil {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]})
	}
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, soDetachReuseportBPF, 0)
	switch {
	case errors.Is(err, unix.ENOENT): // none there
		return nil
	case errors.Is(err, unix.ENOPROTOOPT) && soleSteering(fd):
		return nil
	}
	return err
}

// soleSteering stands in for detaching where the kernel can't (before 5.3): the
// one socket of a group is number 0, and a number out of range leaves the choice
// to the hash as soon as there are more.
func soleSteering(fd int) bool {
	p := to(1 << 20)
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &p[0]}) == nil
}

// steer attaches p to the group of s; nil detaches.
//
// Listeners of Multipath TCP refuse the option, but share their group with
// plain sockets. So a plain one carries it in: it begins to listen, attaches,
// and closes; the program stays, since it is the group's. A filter makes it
// drop what it might be handed in between; the client's kernel sends that again.
func steer(s socket, p []unix.SockFilter) error {
	// A descriptor of our own: the server may close its own at any moment, and
	// the number be given to something else.
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("%v: %w", s.group, err)
	}
	defer unix.Close(fd)
	if now, ok := look(fd); !ok || now.inode != s.inode || !now.listening {
		return fmt.Errorf("%v: it was closed meanwhile", s.group)
	}
	if s.mptcp {
		err = throughSibling(s, fd, p)
	} else {
		err = program(fd, p)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", s.group, err)
	}
	return nil
}

func throughSibling(s socket, original int, p []unix.SockFilter) error {
	var sa unix.Sockaddr
	domain := unix.AF_INET
	if a := s.group.Addr.Addr(); a.Is4() {
		sa = &unix.SockaddrInet4{Addr: a.As4(), Port: int(s.group.Addr.Port())}
	} else {
		domain = unix.AF_INET6
		sa = &unix.SockaddrInet6{Addr: a.As16(), Port: int(s.group.Addr.Port()), ZoneId: uint32(s.group.Device)}
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	options := [][3]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	if domain == unix.AF_INET6 {
		only := 0
		if s.v6only {
			only = 1
		}
		options = append(options, [3]int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only})
	}
	if s.group.Device != 0 {
		options = append(options, [3]int{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, s.group.Device})
	}
	// Addresses that aren't the machine's (yet) can be listened on if the
	// original could.
	if free, err := unix.GetsockoptInt(original, unix.IPPROTO_IP, unix.IP_FREEBIND); err == nil && free == 1 {
		options = append(options, [3]int{unix.IPPROTO_IP, unix.IP_FREEBIND, 1})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return fmt.Errorf("preparing a plain socket: %w", err)
		}
	}
	drop := to(0) // of a socket's own filter: bytes to keep
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]}); err != nil {
		return fmt.Errorf("preparing a plain socket: %w", err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return fmt.Errorf("binding a plain socket: %w", err)
	}
	runtime.LockOSThread() // nothing between these two: meanwhile it is in the group
	defer runtime.UnlockOSThread()
	if err := unix.Listen(fd, 1); err != nil {
		return fmt.Errorf("listening with a plain socket: %w", err)
	}
	return program(fd, p)
}

// steerAll attaches the programs to this process's sockets of the groups, and
// returns how many groups that were. A nil entry leaves out the protocol;
// detach steers no more.
func steerAll(groups []group, tcp, udp []unix.SockFilter) (int, error) {
	return eachGroup(groups, func(s socket) error {
		p := tcp
		if s.group.UDP {
			p = udp
		}
		if p == nil {
			return nil
		}
		return steer(s, p)
	})
}

func detach(groups []group) error {
	_, err := eachGroup(groups, func(s socket) error { return steer(s, nil) })
	return err
}

func eachGroup(groups []group, do func(socket) error) (n int, err error) {
	sockets, err := own()
	if err != nil {
		return 0, err
	}
	wanted := map[group]bool{}
	for _, g := range groups {
		wanted[g] = true
	}
	var errs []error
	for _, s := range sockets {
		if !s.listening || s.passed || s.unix != "" || !wanted[s.group] {
			continue
		}
		n++
		errs = append(errs, do(s))
	}
	return n, errors.Join(errs...)
}

// Supported returns nil where connections can be steered, else why not. It
// tries, on loopback, what a switch does: the kernel's version alone does not
// tell what a sandbox forbids.
func Supported() error {
	first, err := tryListen(0)
	if err != nil {
		return fmt.Errorf("this system does not let sockets share a port: %w", err)
	}
	defer unix.Close(first)
	if err := program(first, to(0)); err != nil {
		return fmt.Errorf("this system does not let a program choose between sockets (SO_ATTACH_REUSEPORT_CBPF): %w", err)
	}
	sa, err := unix.Getsockname(first)
	if err != nil {
		return err
	}
	second, err := tryListen(sa.(*unix.SockaddrInet4).Port)
	if err != nil {
		return fmt.Errorf("this system does not let sockets share a port: %w", err)
	}
	defer unix.Close(second)
	if err := program(second, nil); err != nil {
		return fmt.Errorf("this system does not let a program be detached from sockets: %w", err)
	}
	counts, err := census()
	if err != nil {
		return err
	}
	g := group{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))}
	if counts[g] != 2 {
		return fmt.Errorf("this system's list of sockets shows %d of the two that were just opened", counts[g])
	}
	return nil
}

func tryListen(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return 0, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}
