package evergreen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// listeningOn returns another descriptor, which is not inherited, of the TCP
// socket that this process listens on at an address of the wanted.
func listeningOn(wanted func(network string, addr netip.AddrPort) bool) (int, error) {
	if wanted == nil {
		return -1, errors.New("the admin endpoint's socket is not known")
	}
	var found []int
	for _, fd := range openDescriptors() {
		if !listens(fd) {
			continue
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		var addr netip.AddrPort
		switch a := sa.(type) {
		case *unix.SockaddrInet4:
			addr = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
		case *unix.SockaddrInet6:
			addr = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
		default:
			continue
		}
		if wanted("tcp", addr) {
			found = append(found, fd)
		}
	}
	if len(found) != 1 {
		return -1, errors.New("the admin endpoint's socket is not the only one on its address")
	}
	return unix.FcntlInt(uintptr(found[0]), unix.F_DUPFD_CLOEXEC, 3)
}

// openDescriptors lists numbers that may be open: in a PID namespace without
// its own /proc the first ones, among which the admin endpoint's is.
func openDescriptors() (fds []int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		for fd := range 1024 {
			fds = append(fds, fd)
		}
		return fds
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// takePlace makes a number another descriptor of what fd is, which is inherited.
func takePlace(fd, number int) error { return unix.Dup3(fd, number, 0) }

// inheritedListener makes a listener of a descriptor, which stays open besides.
func inheritedListener(fd int) (net.Listener, error) {
	if !listens(fd) {
		return nil, errors.New("it is no socket that listens")
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "admin")
	ln, err := net.FileListener(f) // another descriptor of it
	if err != nil {
		f.Close()
		return nil, err
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the path is the new one's
	}
	return &keptListener{ln, f}, nil
}

type keptListener struct {
	net.Listener
	file *os.File
}

func (l *keptListener) Close() error { return errors.Join(l.Listener.Close(), l.file.Close()) }

// dropNew has the kernel drop what wants to connect to a socket from now on: the
// client asks again after a second. Where that can't be had (a listener of
// Multipath TCP), who connects in the moment before it closes is refused.
func dropNew(fd int) {
	none := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none[0]})
}
