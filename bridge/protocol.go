package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Protocol is the version of what helper and old process say to each other.
const Protocol = 1

// Variable is the environment variable by which an image learns its role.
const Variable = "EVERGREEN_INTERNAL_BRIDGE"

const (
	roleHelper = "helper"
	roleNext   = "next"
)

// inheritance is what an image is given at its start, in Variable.
type inheritance struct {
	Protocol int    `json:"protocol"`
	Role     string `json:"role"`
	// FD is the number of its end of the socket pair. -1: there is no helper
	// (InPlace).
	FD       int           `json:"fd"`
	Helper   int           `json:"helper,omitempty"` // process id, for X to reap
	Groups   []group       `json:"groups,omitempty"`
	Ports    []uint16      `json:"ports,omitempty"` // TCP, of what is to finish
	Settle   time.Duration `json:"settle"`          // nanoseconds
	Grace    time.Duration `json:"grace"`
	Patience time.Duration `json:"patience"`
	Began    int64         `json:"began,omitempty"` // Unix milliseconds: of the switch
	Back     *way          `json:"back,omitempty"`
	// Failed: what came before this image did not come up, and why.
	Failed string `json:"failed,omitempty"`
}

// way back: a command whose environment is told by its difference to X's own,
// since a variable of the environment holds 128 KiB at most.
type way struct {
	Path  string   `json:"path"`
	Args  []string `json:"args"`
	Set   []string `json:"set,omitempty"`   // KEY=value
	Unset []string `json:"unset,omitempty"` // KEY
}

// A group of sockets that share an address. Who listens on it is told by the
// kernel by all four.
type group struct {
	UDP    bool           `json:"udp,omitempty"`
	Addr   netip.AddrPort `json:"addr"`             // without zone
	Device int            `json:"device,omitempty"` // bound to this interface; 0: any
}

func (g group) network() string {
	if g.UDP {
		return "udp"
	}
	return "tcp"
}

func (g group) String() string { return g.network() + " " + g.Addr.String() }

const maxInheritance = 120 << 10

func (i inheritance) env() (string, error) {
	b, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	if len(b) > maxInheritance {
		return "", fmt.Errorf("the arguments of this process are too long (%d bytes) to be handed on", len(b))
	}
	return Variable + "=" + string(b), nil
}

// parseInheritance reads Variable's value. The version is read first and
// leniently: of another one only FD is known to mean the same.
func parseInheritance(s string) (i inheritance, err error) {
	if len(s) > maxInheritance {
		return i, fmt.Errorf("%s is too long", Variable)
	}
	var v struct {
		Protocol int
		Role     string
		FD       int
	}
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return i, fmt.Errorf("reading %s: %w", Variable, err)
	}
	i.Protocol, i.Role, i.FD = v.Protocol, v.Role, v.FD
	if v.Protocol != Protocol {
		return i, fmt.Errorf("the old executable speaks version %d of the bridge, this one %d", v.Protocol, Protocol)
	}
	d := json.NewDecoder(strings.NewReader(s))
	d.DisallowUnknownFields()
	if err := d.Decode(&i); err != nil {
		return i, fmt.Errorf("reading %s: %w", Variable, err)
	}
	if i.Role != roleHelper && i.Role != roleNext {
		return i, fmt.Errorf("%s gives no role that is known: %q", Variable, i.Role)
	}
	if i.FD < 3 && (i.FD != -1 || i.Role != roleNext) {
		return i, fmt.Errorf("%s gives a descriptor that can't be one: %d", Variable, i.FD)
	}
	if i.Settle < 0 || i.Grace < 0 || i.Patience < 0 || i.Helper < 0 {
		return i, fmt.Errorf("%s holds a negative number", Variable)
	}
	if i.Back != nil && (i.Back.Path == "" || len(i.Back.Args) == 0) {
		return i, fmt.Errorf("%s gives a way back without a command", Variable)
	}
	return i, nil
}

// inherited returns the role that this process was started with, and removes it
// from the environment if it is the one asked for.
func inherited(role string) (inheritance, error, bool) {
	s, ok := os.LookupEnv(Variable)
	if !ok {
		return inheritance{}, nil, false
	}
	i, err := parseInheritance(s)
	if i.Role != role {
		return inheritance{}, nil, false
	}
	os.Unsetenv(Variable)
	return i, err, true
}

// difference is what changes environment a to b.
func difference(a, b []string) (set, unset []string) {
	in := func(l []string) map[string]string {
		m := map[string]string{}
		for _, kv := range l {
			k, v, _ := strings.Cut(kv, "=")
			m[k] = v
		}
		return m
	}
	from, to := in(a), in(b)
	for _, kv := range b {
		k, v, _ := strings.Cut(kv, "=")
		if old, ok := from[k]; (!ok || old != v) && to[k] == v {
			set = append(set, kv)
		}
	}
	for _, kv := range a {
		k, _, _ := strings.Cut(kv, "=")
		if _, ok := to[k]; !ok {
			unset = append(unset, k)
		}
	}
	return set, unset
}

// apply changes env by what difference found.
func (w *way) apply(env []string) []string {
	gone := map[string]bool{Variable: true}
	for _, k := range w.Unset {
		gone[k] = true
	}
	for _, kv := range w.Set {
		k, _, _ := strings.Cut(kv, "=")
		gone[k] = true
	}
	var out []string
	for _, kv := range env {
		if k, _, _ := strings.Cut(kv, "="); !gone[k] {
			out = append(out, kv)
		}
	}
	return append(out, w.Set...)
}

// message is one line.
type message struct {
	verb string
	arg  string // unquoted
}

const maxLine = 4096

func parseMessage(line string) (message, error) {
	line = strings.TrimSuffix(line, "\n")
	verb, rest, has := strings.Cut(line, " ")
	m := message{verb: verb, arg: rest}
	switch verb {
	case "up", "ok", "stopped", "ping", "take", "take-quic", "pin", "leave":
		if has {
			return m, fmt.Errorf("%q takes no argument", verb)
		}
	case "hello", "yield":
		if n, err := strconv.ParseUint(rest, 10, 16); err != nil || strconv.FormatUint(n, 10) != rest {
			return m, fmt.Errorf("%q takes a number, not %.40q", verb, rest)
		}
	case "failed", "no":
		s, err := strconv.Unquote(rest)
		if err != nil || !strings.HasPrefix(rest, `"`) {
			return m, fmt.Errorf("%q takes a quoted text", verb)
		}
		m.arg = s
	default:
		return m, fmt.Errorf("not a message of the bridge: %.40q", line)
	}
	return m, nil
}

func (m message) String() string {
	switch {
	case m.verb == "failed" || m.verb == "no":
		if len(m.arg) > 800 { // quoted at most four times as long
			m.arg = m.arg[:800]
		}
		return m.verb + " " + strconv.Quote(m.arg)
	case m.arg != "":
		return m.verb + " " + m.arg
	}
	return m.verb
}

// conn is one end of the socket pair. It owns the file.
type conn struct {
	f      *os.File
	within time.Duration // for each answer
	in     chan message
	dead   chan struct{} // closed at the other's end, with err set
	err    error
	send   sync.Mutex
}

func newConn(f *os.File, patience time.Duration) *conn {
	if patience == 0 {
		patience = defaultPatience
	}
	c := &conn{f: f, within: patience / 6, in: make(chan message, 16), dead: make(chan struct{})}
	go c.read()
	return c
}

func (c *conn) read() {
	defer close(c.dead)
	r := bufio.NewReaderSize(c.f, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			c.err = err
			if errors.Is(err, io.EOF) {
				c.err = errors.New("the other process is gone")
			}
			return
		}
		m, err := parseMessage(string(line))
		if err == nil && len(c.in) == cap(c.in) {
			err = errors.New("it says more than was asked for")
		}
		if err != nil {
			c.err = err
			return
		}
		c.in <- m
	}
}

func (c *conn) say(verb, arg string) error {
	c.send.Lock()
	defer c.send.Unlock()
	_ = c.f.SetWriteDeadline(time.Now().Add(c.within)) // a full buffer: it hangs
	_, err := io.WriteString(c.f, message{verb, arg}.String()+"\n")
	return err
}

// hear waits for the next message.
func (c *conn) hear(ctx context.Context, within time.Duration) (message, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case m := <-c.in:
		return m, nil
	default:
	}
	select {
	case m := <-c.in:
		return m, nil
	case <-c.dead:
		select { // what it said last counts
		case m := <-c.in:
			return m, nil
		default:
		}
		return message{}, c.err
	case <-t.C:
		return message{}, fmt.Errorf("no answer within %v", within)
	case <-ctx.Done():
		return message{}, context.Cause(ctx)
	}
}

// refusal is what the other process answered with no.
type refusal string

func (r refusal) Error() string { return string(r) }

// ask says verb and waits for ok.
func (c *conn) ask(verb, arg string) error {
	if err := c.say(verb, arg); err != nil {
		return fmt.Errorf("saying %s: %w", verb, err)
	}
	m, err := c.hear(context.Background(), c.within)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", verb, err)
	case m.verb == "no":
		return fmt.Errorf("%s: %w", verb, refusal(m.arg))
	case m.verb != "ok":
		return fmt.Errorf("%s: it answers %q", verb, m.verb)
	}
	return nil
}

func (c *conn) gone() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}
