package bridge

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// socket is one of this process's own, listening or connected.
type socket struct {
	fd        int
	inode     uint64 // of one that listens
	group     group
	unix      string // path, of a Unix socket
	stream    bool
	listening bool // tcp, unix: accepts; udp: bound and unconnected
	reuseport bool
	passed    bool // survives execve
	mptcp     bool
	v6only    bool
}

// own lists this process's sockets that have a local address. Descriptors of
// the same listening socket are one entry.
func own() ([]socket, error) {
	fds, err := descriptors()
	if err != nil {
		return nil, err
	}
	var out []socket
	at := map[uint64]int{} // by inode
	for _, fd := range fds {
		s, ok := look(fd)
		if !ok {
			continue
		}
		if i, again := at[s.inode]; again && s.listening {
			out[i].passed = out[i].passed || s.passed
			continue
		}
		if s.listening {
			at[s.inode] = len(out)
		}
		out = append(out, s)
	}
	return out, nil
}

// look asks for little where there is much: of a connection, for its protocol
// and address. There may be a hundred thousand.
func look(fd int) (s socket, ok bool) {
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return s, false // no socket
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return s, false
	}
	s = socket{fd: fd, listening: accepts == 1}
	switch a := sa.(type) {
	case *unix.SockaddrUnix:
		s.unix = a.Name
		kind, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		s.stream = kind == unix.SOCK_STREAM
		if kind == unix.SOCK_DGRAM {
			_, err := unix.Getpeername(fd)
			s.listening = err != nil
		}
		if s.unix == "" || !s.listening {
			return s, false
		}
	case *unix.SockaddrInet4:
		s.group.Addr = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		s.group.Addr = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	default:
		return s, false
	}
	if s.unix == "" {
		if s.group.Addr.Port() == 0 || !s.protocol() {
			return s, false
		}
		if !s.listening {
			return s, true
		}
		s.reuseport = s.option(unix.SOL_SOCKET, unix.SO_REUSEPORT) == 1
		s.group.Device = s.option(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
		s.v6only = s.group.Addr.Addr().Is6() && s.option(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) == 1
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return s, false
	}
	s.inode = st.Ino
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	s.passed = err == nil && flags&unix.FD_CLOEXEC == 0
	return s, true
}

// protocol finds out which one it is, and whether a UDP socket is a server's;
// false: one that is not steered.
func (s *socket) protocol() bool {
	switch s.option(unix.SOL_SOCKET, unix.SO_PROTOCOL) {
	case unix.IPPROTO_TCP:
	case unix.IPPROTO_MPTCP:
		s.mptcp = true
	case unix.IPPROTO_UDP:
		s.group.UDP = true
		_, err := unix.Getpeername(s.fd)
		s.listening = err != nil
	default:
		return false
	}
	return true
}

// option is 0 where the kernel does not know it.
func (s *socket) option(level, name int) int {
	v, err := unix.GetsockoptInt(s.fd, level, name)
	if err != nil {
		return 0
	}
	return v
}

// descriptors lists this process's open descriptors, from /proc where it is
// mounted, else by asking for each number whether it is open.
func descriptors() ([]int, error) {
	if fds, err := procDescriptors(); err == nil {
		return fds, nil
	}
	return scanDescriptors()
}

func procDescriptors() ([]int, error) {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, n := range names {
		if fd, err := strconv.Atoi(n); err == nil {
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	return fds, nil
}

// highest number looked at without /proc: beyond it a look would take longer
// than what is waited for.
const highest = 1 << 20

// scanDescriptors asks in batches: poll answers POLLNVAL for a closed number.
func scanDescriptors() ([]int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("finding how many descriptors there may be: %w", err)
	}
	end := int(min(limit.Cur, highest))
	var fds []int
	batch := make([]unix.PollFd, min(1024, end))
	for first := 0; first < end; first += len(batch) {
		batch = batch[:min(len(batch), end-first)]
		for i := range batch {
			batch[i] = unix.PollFd{Fd: int32(first + i)}
		}
		for {
			_, err := unix.Poll(batch, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("looking for open descriptors: %w", err)
			}
			break
		}
		for i, p := range batch {
			if p.Revents&unix.POLLNVAL == 0 {
				fds = append(fds, first+i)
			}
		}
	}
	return fds, nil
}

// Survey lists the process's listening sockets, sorted, and why some of them
// can't be bridged. Source: the process's descriptors and the kernel's list of
// sockets.
func Survey() ([]Socket, error) {
	sockets, err := own()
	if err != nil {
		return nil, fmt.Errorf("listing this process's sockets: %w", err)
	}
	counts, err := census()
	if err != nil {
		return nil, err
	}
	mine := tally(sockets)
	var out []Socket
	for _, s := range sockets {
		if !s.listening || s.group.UDP && s.clientLike() {
			continue
		}
		o := Socket{Addr: s.group.Addr, Path: s.unix, Passed: s.passed, Why: s.obstacle(counts, mine)}
		switch {
		case s.unix != "" && s.stream:
			o.Network = "unix"
		case s.unix != "":
			o.Network = "unixgram"
		default:
			o.Network = s.group.network()
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b Socket) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), a.Addr.Compare(b.Addr), cmp.Compare(a.Path, b.Path))
	})
	return out, nil
}

// clientLike: an unconnected UDP socket without SO_REUSEPORT is as a rule a
// client's (a resolver, an HTTP/3 upstream) on a port of the kernel's choice.
func (s socket) clientLike() bool { return !s.reuseport && !s.passed }

// tally counts the process's own listening sockets of each group.
func tally(sockets []socket) map[group]int {
	n := map[group]int{}
	for _, s := range sockets {
		if s.listening && s.unix == "" {
			n[s.group]++
		}
	}
	return n
}

// obstacle says why s can't be bridged; "" if it can.
func (s socket) obstacle(counts, mine map[group]int) string {
	switch {
	case s.passed:
		return "" // one queue, which old and new both accept from
	case s.unix != "":
		return "a Unix socket has one listener: there is no group to steer in"
	case !s.reuseport:
		return "it listens without SO_REUSEPORT, so that no other process can listen beside it"
	case mine[s.group] > 1:
		return fmt.Sprintf("this process listens on it with %d sockets", mine[s.group])
	case counts[s.group] > 1:
		return "another process listens on the same address and port (look with: ss -lp); steering would take its connections"
	}
	return ""
}

// bridged returns the groups to be bridged, and the ports whose accepted
// connections are to finish; an error names what stands in the way.
func bridged(skip func(string, netip.AddrPort) bool) (groups []group, ports []uint16, local bool, err error) {
	sockets, err := own()
	if err != nil {
		return nil, nil, false, fmt.Errorf("listing this process's sockets: %w", err)
	}
	counts, err := census()
	if err != nil {
		return nil, nil, false, err
	}
	mine := tally(sockets)
	local = true
	var bad []error
	for _, s := range sockets {
		if !s.serves(skip) {
			continue
		}
		local = local && s.group.Addr.Addr().IsLoopback()
		if why := s.obstacle(counts, mine); why != "" {
			bad = append(bad, fmt.Errorf("%v: %s", s.group, why))
			continue
		}
		if !s.group.UDP && !slices.Contains(ports, s.group.Addr.Port()) {
			ports = append(ports, s.group.Addr.Port())
		}
		if !s.passed {
			groups = append(groups, s.group)
		}
	}
	return groups, ports, local, errors.Join(bad...)
}

// left counts what of groups and ports is still open in this process: sockets
// that listen, and connections accepted by them. It returns how long to wait
// before looking again, since a look costs something with many connections.
func left(groups []group, ports []uint16) (listening, connections int, again time.Duration, err error) {
	began := time.Now()
	sockets, err := own()
	if err != nil {
		return 0, 0, 0, err
	}
	for _, s := range sockets {
		switch {
		case s.unix != "":
		case s.listening:
			if slices.Contains(groups, s.group) && !s.passed {
				listening++
			}
		case !s.group.UDP && slices.Contains(ports, s.group.Addr.Port()):
			connections++
		}
	}
	return listening, connections, max(20*time.Millisecond, 10*time.Since(began)), nil
}

// ownAddresses are this process's, for InPlace: nothing stands in their way.
func ownAddresses(skip func(string, netip.AddrPort) bool) (groups []group, ports []uint16) {
	sockets, _ := own()
	for _, s := range sockets {
		if !s.serves(skip) {
			continue
		}
		if !s.passed {
			groups = append(groups, s.group)
		}
		if !s.group.UDP {
			ports = append(ports, s.group.Addr.Port())
		}
	}
	return groups, ports
}

// serves: it is a server's, with an address, and not skipped.
func (s socket) serves(skip func(string, netip.AddrPort) bool) bool {
	return s.listening && s.unix == "" && !(s.group.UDP && s.clientLike()) &&
		(skip == nil || !skip(s.group.network(), s.group.Addr))
}
