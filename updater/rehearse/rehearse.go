// Package rehearse runs a candidate beside the running Caddy and compares what
// the two answer.
//
// In come a verified executable and the running server's configuration. Out
// comes a Report: what differs, if anything, and what was not compared. The
// running server is only asked what any visitor may ask; it goes on whatever
// the candidate does. The candidate
//
//  1. must run here and tell the version that it was announced with, and have
//     all modules that the running server has (`version`, `list-modules`),
//  2. must accept the running configuration (`validate`),
//  3. is started with that configuration rewritten: its listeners on ports of
//     loopback, storage read-only, no admin API, nothing issued, published or
//     logged (see Rewrite), and confined as far as the platform can (see
//     package confine): it writes below a scratch folder only, gains no
//     privileges, and ends with us,
//  4. is asked for every site of the configuration, over each version of HTTP
//     that the running server speaks there, and must answer alike.
//
// Each step has its limit of time, output, memory and disk; a candidate that
// exceeds one is ended, and that is the result.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MarkHeader is in each request that a rehearsal sends; its value is
// Config.Mark. The running server tells by it what is no visitor's request.
const MarkHeader = "Evergreen-Rehearsal"

// Limits that a Config's zero values stand for.
const (
	DefaultTimeout   = 10 * time.Minute
	DefaultStepTime  = 2 * time.Minute // a Caddy takes 0.1 s where the machine does nothing else
	DefaultSettle    = 3 * time.Second // in which it would take memory, disk or output without end
	DefaultMaxProbes = 300             // requests to compare, each sent three times or more
	DefaultMaxDisk   = 256 << 20       // bytes below the scratch folder
)

// A Config is what to rehearse, beside what.
type Config struct {
	Executable string // the candidate's
	// Launcher confines itself and then becomes the candidate: an executable that
	// has package confine in it. "" is the running one.
	Launcher string
	Version  string   // that the candidate must tell: "v2.11.9"; "" is any
	Modules  []string // ids of the running server's modules
	Live     []byte   // the running configuration, as Caddy's JSON
	DataDir  string   // of the running server, where it has its storage by default
	PID      int      // of the running server; 0 is this process
	Scratch  string   // a folder of the rehearsal's own: emptied, and removed at the end

	Environ []string // of the running server; nil is os.Environ()
	Env     []string // added to the candidate's: see boot.Env

	// OwnApp tells whether an app is Caddy's own; nil: Caddy 2's apps. Others are
	// left out at first, for what they do besides serving.
	OwnApp func(name string) bool
	// Expand resolves placeholders such as {env.PORT}; nil: those of env.
	Expand func(string) (string, error)
	// Certified tells whether the running server holds a certificate for a host.
	// Where certificates are obtained on demand, no other host is asked for, as
	// that would obtain one. nil: no such host is asked for.
	Certified func(host string) bool

	Mark      string        // value of MarkHeader
	Memory    uint64        // bytes of resident memory at which the candidate is ended; 0: from this process's
	Private   uint64        // bytes of private memory that it can't exceed for a moment either; 0: from Memory
	MaxDisk   int64         // 0 is DefaultMaxDisk
	MaxProbes int           // 0 is DefaultMaxProbes
	StepTime  time.Duration // for each of version, list-modules, validate and the start; 0 is DefaultStepTime
	Settle    time.Duration // that the candidate runs at least; 0 is DefaultSettle
	Timeout   time.Duration // for everything; 0 is DefaultTimeout
}

// A Difference is one thing in which the candidate doesn't agree with the
// running server.
type Difference struct {
	Where   string // "https://example.com/api/ over HTTP/2"
	What    string // "status", "header Location", "certificate", …
	Running string // what the running server has
	New     string // what the candidate has
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: %s is %s, was %s", d.Where, d.What, d.New, d.Running)
}

// A Report is the result of a rehearsal that could be carried out.
type Report struct {
	Differences []Difference // empty: the candidate agrees
	Probes      int          // that were compared
	Sites       int          // hosts of the configuration that were asked for
	Notes       []string     // what was not compared or not limited, and why
	Peak        uint64       // the candidate's resident memory in bytes, at its highest
	Took        time.Duration
}

// Agrees reports whether nothing differs.
func (r Report) Agrees() bool { return len(r.Differences) == 0 }

// maxListed bounds a report that a person reads.
const maxListed = 20

// String is the differences as a person reads them, a line each; "" if the
// candidate agrees.
func (r Report) String() string {
	if r.Agrees() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d differences from the running server, in %d requests:", len(r.Differences), r.Probes)
	for i, d := range r.Differences {
		if i == maxListed {
			fmt.Fprintf(&b, "\n  … and %d more", len(r.Differences)-i)
			break
		}
		b.WriteString("\n  " + d.String())
	}
	for _, n := range r.Notes {
		b.WriteString("\n  note: " + n)
	}
	return b.String()
}

// A Kind is a class of reasons for which a candidate is no good.
type Kind string

// The kinds.
const (
	Execute Kind = "execute" // it can't be executed here
	Tell    Kind = "tell"    // it does not tell its version and modules, or others than announced
	Modules Kind = "modules" // it lacks a module of the running server
	Refuse  Kind = "config"  // it refuses the running configuration
	Start   Kind = "start"   // it ends, hangs or serves nothing when started
	Limit   Kind = "limit"   // it took more memory, disk, output or time than it may
)

// An Error is that the candidate failed. Any other error of Run is that it
// could not be rehearsed, which says nothing about the candidate.
type Error struct {
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// failed is an Error whose text ends with what the candidate said last.
func failed(kind Kind, said string, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if said = strings.TrimSpace(said); said != "" {
		err = fmt.Errorf("%w; it said: %s", err, said)
	}
	return &Error{kind, err}
}

var errNoConfig = errors.New("the running server has no configuration: there is nothing to rehearse with")

// Run rehearses. It returns an *Error if the candidate failed before it could
// be compared, and a Report otherwise. Nothing of it is left when Run returns:
// no process, no file.
func Run(ctx context.Context, c Config) (Report, error) {
	began := time.Now()
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if len(c.Live) == 0 {
		return Report{}, errNoConfig
	}
	r, err := c.run(ctx)
	r.Took = time.Since(began)
	return r, err
}

// RehearsalVariable is in a candidate's environment while it is rehearsed.
const RehearsalVariable = "EVERGREEN_INTERNAL_REHEARSAL"
