// Package bridge replaces the executable of a running server under load: no
// connection is refused, no HTTP/1.1 or HTTP/2 request fails, and the process
// id stays the same, so that whoever supervises the process sees no change.
//
// What arrives: two commands (how to start the helper, what to become), and
// the server's own ways to stop listening and to serve again. What leaves:
// either nothing (the process is the new executable), or an error that names
// the step that failed, with the old server serving as before. The package
// knows sockets and processes, and no particular server.
//
// # The sequence
//
// Three images take part: P, the process as it is; H, a helper, which is the
// candidate started beside it; X, the candidate in P's process id. All sockets
// of an address are one SO_REUSEPORT group; a classic BPF program of one
// instruction, attached to the group, says which of its sockets is given a new
// connection ("steering"). A group's sockets are numbered in the order in which
// they began to listen; when one closes, the last takes its number; a program
// that names a number nobody has leaves the choice to the kernel's hash.
//
//	1  P  looks at its sockets; refuses if another process listens in a group
//	2  P  steers all to 0: to itself
//	3  P  starts H, which says hello, then up; it listens, as number 1, in the dark
//	4  P  sees that H listens wherever P does, and has H health-checked
//	                   — until here nothing is committed; undoing is detaching —
//	5  H  steers TCP to 1: to itself. P retires: HTTP/1.1 answers say
//	      "Connection: close". Settle: handshakes and requests on the way arrive
//	6  H  steers the first packets of QUIC connections to itself. P stops
//	      listening and waits for its connections to finish (Grace)
//	7  P  has H checked again; H, alone and so number 0, steers all to 0
//	8  P  becomes X by execve, the connection to H kept open
//	9  X  is up: it listens, as number 1, in the dark, and tells H to yield
//	10 H  steers to 1: to X; retires, settles, stops, finishes, exits
//	11 X  detaches the programs as soon as H listens no more, and reaps it
//
// # When a step fails
//
// Until 5: H is told to leave, or killed; programs are detached.
// From 5 on: P steers back to itself, and serves again if it had stopped; H,
// if it lives, yields to P just as it would to X.
// execve fails: the same.
// H dies after 8: X has the sockets as soon as it is up.
// X does not come up within Patience: X becomes Options.Back (the executable
// that P was) in the same way, H serving meanwhile; that one is a Next again.
// P or X dies: H sees its end of the connection close, detaches, finishes what
// it has begun, and leaves.
//
// # The protocol
//
// A stream socket pair; lines of at most 4096 bytes. H inherits the number of
// its end in the environment variable named by Variable, and X that of P's end,
// as JSON (type inheritance). Variable is removed when it is read.
//
//	H → P   hello 1        at once; 1 is Protocol. Another: P kills it
//	H → P   up             serving; or: failed "why"
//	P → H   ping           → ok
//	P → H   take           TCP to 1: → ok, or: no "why"
//	P → H   take-quic      QUIC's first packets to 1
//	P → H   pin            all to 0
//	P, X → H  yield 0|1    steer to that number; → ok; retire, settle, stop → stopped
//	P → H   leave          stop, finish, exit: → ok, stopped
//
// # Bounds
//
// Each answer has a time limit (Patience for up, a third of it for hello, a
// sixth for the others). A process waiting for connections is bounded by Grace,
// by its context and by Server.Abort.
//
// Two things can't be had. A SYN that arrives within the microseconds in which
// a program is attached to a group of Multipath TCP listeners (Go's default;
// they refuse the option, and a plain socket of the same group carries it in)
// may be dropped, and is sent again by the client after a second. And a QUIC
// connection can't move between processes: it is closed in order, and clients
// connect anew.
package bridge
