package rehearse

import (
	"bytes"
	"strings"
	"sync"
	"unicode"
)

// Bounds of what a candidate prints.
const (
	keptOutput = 64 << 10 // bytes of the beginning, and of the end
	maxOutput  = 16 << 20 // bytes, above which it is ended
	maxSaid    = 600      // bytes of it in an error
)

// An output takes what a candidate prints, and keeps the beginning and the end.
type output struct {
	mu    sync.Mutex
	head  []byte
	tail  []byte
	total int64
	line  []byte // the last one, unfinished, at most keptOutput bytes

	each func(line []byte) // is called with every line
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total += int64(len(b))
	rest := b
	if n := min(keptOutput-len(o.head), len(rest)); n > 0 {
		o.head = append(o.head, rest[:n]...)
		rest = rest[n:]
	}
	o.tail = append(o.tail, rest...)
	if n := len(o.tail) - keptOutput; n > keptOutput {
		o.tail = append(o.tail[:0], o.tail[n:]...)
	}
	if o.each == nil {
		return len(b), nil
	}
	for rest := b; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			o.line = append(o.line, rest[:min(len(rest), keptOutput-len(o.line))]...)
			break
		}
		o.each(append(o.line, rest[:min(i, keptOutput-len(o.line))]...))
		o.line, rest = o.line[:0], rest[i+1:]
	}
	return len(b), nil
}

func (o *output) size() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// beginning is what was printed first, at most keptOutput bytes.
func (o *output) beginning() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.head)
}

// end is what was printed last.
func (o *output) end() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == 0 {
		return string(o.head)
	}
	return string(o.tail)
}

// said is the last lines that were printed, short enough for an error, and
// without what would disturb a terminal or a log.
func (o *output) said() string {
	// A crash begins with its cause, and ends with the stacks of others.
	var b strings.Builder
	for line := range strings.Lines(o.end()) {
		// What went as it should is not why.
		if !strings.HasPrefix(line, `{"level":"info"`) {
			b.WriteString(line)
		}
	}
	s := strings.TrimSpace(b.String())
	for _, begin := range []string{"panic: ", "fatal error: ", "Error: "} {
		if i := strings.LastIndex(s, begin); i >= 0 && len(s)-i > maxSaid {
			return printable(s[i:min(len(s), i+maxSaid)] + " …")
		}
	}
	if len(s) > maxSaid {
		s = "… " + s[len(s)-maxSaid:]
	}
	return printable(s)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
