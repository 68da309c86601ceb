package rehearse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-evergreen/evergreen/updater/rehearse/confine"
)

// Bounds of a candidate's process.
const (
	lookEvery  = 100 * time.Millisecond // at its memory and output
	maxTasks   = 1000                   // processes and threads of its group
	maxFile    = 64 << 20               // bytes of one file
	endTime    = 2 * time.Second        // to end when asked to
	minMemory  = 256 << 20              // bytes that are never too many
	spareBytes = 64 << 20               // of memory that the machine keeps
)

// A process is a candidate that runs, confined, in a process group of its own.
type process struct {
	out  *output
	done chan struct{} // closed when it has ended
	err  error         // how it ended, once done
	pid  int
	peak atomic.Uint64 // bytes of resident memory

	mu  sync.Mutex
	why error // it was ended for exceeding a limit
}

// start runs the candidate with the arguments, and input on its standard input.
// each is called with every line that it prints.
func (c *Config) start(input []byte, bind []int, each func([]byte), args ...string) (*process, confine.Result, error) {
	box := confine.Box{
		Path: c.Executable, Args: args, Env: c.Env, Write: []string{c.Scratch}, Bind: bind,
		MaxFile: maxFile, MaxData: c.Private, MaxCPU: uint64(c.Timeout/time.Second)*uint64(runtime.NumCPU()) + 1,
	}
	cmd, started, err := box.Command(c.Launcher, c.environ())
	if err != nil {
		return nil, confine.Result{}, err
	}
	p := &process{out: &output{each: each}, done: make(chan struct{})}
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stdout, cmd.Stderr = p.out, p.out
	cmd.WaitDelay = endTime // what it has started may hold the pipes
	cmd.SysProcAttr = ofOwnGroup()
	ran := make(chan error, 1)
	go func() {
		// On Linux a process ends with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		ran <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		killGroup(cmd.Process.Pid) // what it left behind
		if p.err = err; err == nil || errors.Is(err, exec.ErrWaitDelay) {
			p.err = nil
		}
		close(p.done)
	}()
	startErr := <-ran
	res, err := started()
	if startErr != nil {
		return nil, res, fmt.Errorf("starting a launcher for the candidate: %w", startErr)
	}
	p.pid = cmd.Process.Pid
	if err != nil {
		p.kill()
		<-p.done
		if errors.Is(err, confine.ErrExec) {
			return nil, res, &Error{Execute, fmt.Errorf("running the candidate here: %w", err)}
		}
		return nil, res, err
	}
	go p.look(c)
	return p, res, nil
}

// look ends the process when it exceeds a limit.
func (p *process) look(c *Config) {
	defer func() { _ = recover() }() // then only the limits of confine hold
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		rss, tasks := resident(p.pid), 0
		if n%5 == 0 {
			var all uint64
			all, tasks = group(p.pid)
			rss = max(rss, all)
		}
		if rss > p.peak.Load() {
			p.peak.Store(rss)
		}
		switch {
		case rss > c.Memory:
			p.exceeded("it takes %d MB of memory, where up to %d MB were expected", rss>>20, c.Memory>>20)
		case p.out.size() > maxOutput:
			p.exceeded("it prints without end: %d MB so far", p.out.size()>>20)
		case tasks > maxTasks:
			p.exceeded("it has %d processes and threads", tasks)
		case n%5 == 0:
			if size, ok := within(c.Scratch, c.MaxDisk); !ok {
				p.exceeded("it fills the disk: %d MB so far", size>>20)
			}
		}
	}
}

func (p *process) exceeded(format string, args ...any) {
	p.mu.Lock()
	if p.why == nil {
		p.why = &Error{Limit, fmt.Errorf("the candidate was ended in its rehearsal: "+format, args...)}
	}
	p.mu.Unlock()
	p.kill()
}

// limit is why it was ended, or nil.
func (p *process) limit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

func (p *process) kill() { killGroup(p.pid) }

// end asks the process to end, and then makes it.
func (p *process) end() {
	terminate(p.pid)
	select {
	case <-p.done:
	case <-time.After(endTime):
		p.kill()
		<-p.done
	}
}

// tell runs a command of the candidate that ends by itself, and returns what it
// printed first.
func (c *Config) tell(ctx context.Context, input []byte, args ...string) (string, error) {
	p, _, err := c.start(input, nil, nil, args...)
	if err != nil {
		return "", err
	}
	timer := time.NewTimer(c.StepTime)
	defer timer.Stop()
	name := "`" + args[0] + "`"
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		<-p.done
		return "", fmt.Errorf("rehearsing %s: %w", name, ctx.Err())
	case <-timer.C:
		p.kill()
		<-p.done
		return "", failed(Limit, p.out.said(), "the candidate's %s did not end within %v", name, c.StepTime)
	}
	if err := p.limit(); err != nil {
		return "", err
	}
	if p.err != nil {
		return "", failed(Tell, p.out.said(), "the candidate's %s failed (%v)", name, p.err)
	}
	return p.out.beginning(), nil
}

// environ is the candidate's environment: the running server's, so that
// placeholders are the same, but folders of its own to write to, nobody to
// notify, and nothing to report.
func (c *Config) environ() []string {
	env := c.Environ
	if env == nil {
		env = os.Environ()
	}
	own := map[string]string{
		"XDG_DATA_HOME": filepath.Join(c.Scratch, "data"), "XDG_CONFIG_HOME": filepath.Join(c.Scratch, "config"),
		"XDG_CACHE_HOME": filepath.Join(c.Scratch, "cache"), "TMPDIR": filepath.Join(c.Scratch, "tmp"),
		"EVERGREEN_TELEMETRY": "off", "EVERGREEN_UPDATES": "off",
		"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
		RehearsalVariable: "1",
	}
	gone := []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "MAINPID"}
	// Landlock restricts plain TCP, and not the MPTCP that Go listens with.
	godebug := "multipathtcp=0"
	var kept []string
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		switch {
		case name == "GODEBUG" && value != "":
			godebug = value + "," + godebug
		case name == "GODEBUG", own[name] != "", strings.HasPrefix(name, "EVERGREEN_INTERNAL_"):
		default:
			kept = append(kept, e)
			for _, g := range gone {
				if name == g {
					kept = kept[:len(kept)-1]
				}
			}
		}
	}
	for name, value := range own {
		kept = append(kept, name+"="+value)
	}
	return append(kept, "GODEBUG="+godebug)
}

// within reports whether what is below dir has at most limit bytes, and how
// many it has, or more than limit.
func within(dir string, limit int64) (size int64, ok bool) {
	files := 0
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		// A file of no bytes takes room as well.
		if files++; size > limit || int64(files) > limit>>10 {
			size = max(size, limit+1)
			return fs.SkipAll
		}
		return nil
	})
	return size, size <= limit
}
