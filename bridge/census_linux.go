package bridge

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// States of a socket as the kernel numbers them (net/tcp_states.h).
const (
	stateClose  = 7 // of a UDP socket: not connected
	stateListen = 10
)

// census counts the sockets that listen on each address, in all processes of
// this network namespace: by the kernel's socket monitoring, which needs
// neither a privilege nor /proc; where it is compiled out, from /proc/net.
func census() (map[group]int, error) {
	counts, err := diagCensus()
	if err == nil {
		return counts, nil
	}
	counts, perr := procCensus()
	if perr == nil {
		return counts, nil
	}
	return nil, fmt.Errorf("finding out who else listens: %w", errors.Join(err, perr))
}

func diagCensus() (map[group]int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("socket monitoring: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return nil, fmt.Errorf("socket monitoring: %w", err)
	}
	counts := map[group]int{}
	for _, q := range []struct{ family, proto, state int }{
		{unix.AF_INET, unix.IPPROTO_TCP, stateListen},
		{unix.AF_INET6, unix.IPPROTO_TCP, stateListen},
		{unix.AF_INET, unix.IPPROTO_UDP, stateClose},
		{unix.AF_INET6, unix.IPPROTO_UDP, stateClose},
	} {
		err := diagDump(fd, byte(q.family), byte(q.proto), 1<<q.state, func(b []byte) {
			if g, ok := parseDiag(b); ok {
				g.UDP = q.proto == unix.IPPROTO_UDP
				counts[g]++
			}
		})
		if errors.Is(err, unix.ENOENT) && q.family == unix.AF_INET6 {
			continue // no IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("socket monitoring: %w", err)
		}
	}
	return counts, nil
}

// diagDump sends an inet_diag_req_v2 (linux/inet_diag.h) and gives each answer.
func diagDump(fd int, family, proto byte, states uint32, each func([]byte)) error {
	const headers, request = unix.SizeofNlMsghdr, 56
	var m [headers + request]byte
	ne := binary.NativeEndian
	ne.PutUint32(m[0:], uint32(len(m)))
	ne.PutUint16(m[4:], unix.SOCK_DIAG_BY_FAMILY)
	ne.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	m[headers], m[headers+1] = family, proto
	ne.PutUint32(m[headers+4:], states)
	if err := unix.Sendto(fd, m[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(m.Data) < 4 {
					return errors.New("short answer")
				}
				return unix.Errno(-int32(ne.Uint32(m.Data)))
			case unix.SOCK_DIAG_BY_FAMILY:
				each(m.Data)
			}
		}
	}
}

// parseDiag reads an inet_diag_msg: family, state, timer, retrans, then ports
// and addresses in network order, and the interface.
func parseDiag(b []byte) (group, bool) {
	if len(b) < 72 {
		return group{}, false
	}
	port := binary.BigEndian.Uint16(b[4:])
	if binary.BigEndian.Uint16(b[6:]) != 0 || port == 0 {
		return group{}, false // connected
	}
	var a netip.Addr
	switch b[0] {
	case unix.AF_INET:
		a = netip.AddrFrom4([4]byte(b[8:12]))
	case unix.AF_INET6:
		a = netip.AddrFrom16([16]byte(b[8:24]))
	default:
		return group{}, false
	}
	device := int(int32(binary.NativeEndian.Uint32(b[40:])))
	return group{Addr: netip.AddrPortFrom(a, port), Device: device}, true
}

// procCensus reads /proc/net, which does not tell the interface: sockets bound
// to one are then found by no group, and count as nobody's.
func procCensus() (map[group]int, error) {
	counts := map[group]int{}
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		f, err := os.Open("/proc/net/" + name)
		if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(name, "6") {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = parseProcNet(f, func(a netip.AddrPort, state int) (more bool) {
			udp := strings.HasPrefix(name, "udp")
			switch {
			case udp && state == stateClose, !udp && state == stateListen:
				counts[group{UDP: udp, Addr: a}]++
			case !udp:
				return false // those that listen are first, and there may be many others
			}
			return true
		})
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("reading /proc/net/%s: %w", name, err)
		}
	}
	return counts, nil
}

// parseProcNet reads lines of "sl local_address rem_address st …".
func parseProcNet(r io.Reader, each func(local netip.AddrPort, state int) bool) error {
	s := bufio.NewScanner(r)
	s.Scan() // titles
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 4 {
			return fmt.Errorf("a line of %d fields", len(f))
		}
		local, err := parseProcAddr(f[1])
		if err != nil {
			return err
		}
		state, err := strconv.ParseUint(f[3], 16, 8)
		if err != nil {
			return fmt.Errorf("state %.20q", f[3])
		}
		if !each(local, int(state)) {
			return nil
		}
	}
	return s.Err()
}

// parseProcAddr reads an address as the kernel prints it: each 32 bits of it
// (in network order) as a number of the machine, then a colon and the port.
func parseProcAddr(s string) (netip.AddrPort, error) {
	host, p, _ := strings.Cut(s, ":")
	port, err := strconv.ParseUint(p, 16, 16)
	b, herr := hex.DecodeString(host)
	if err != nil || herr != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, fmt.Errorf("address %.50q", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, uint16(port)), nil
}
