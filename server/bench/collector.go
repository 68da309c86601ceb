package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	senders     = 64
	collectFor  = 5 * time.Second
	collectRuns = 3
	targetRate  = 10_000
)

// collector sends the same reports to the real service and to a handler that
// reads and discards them, in turns.
func collector(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "evergreen-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	reports, err := sampleReports(20_000)
	if err != nil {
		return err
	}
	size := 0
	for _, r := range reports {
		size += len(r.body)
	}
	fmt.Printf("a report: %d bytes as sent (mean of %d)\n", size/len(reports), len(reports))

	exe := filepath.Join(dir, "evergreen")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", exe, "./server/cmd/evergreen").CombinedOutput(); err != nil {
		return fmt.Errorf("building the server: %w\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, []byte(`{"limits": {"per_sender": 1e6, "global": 1e6}}`), 0o600); err != nil {
		return err
	}
	addrs, err := freeAddresses(2)
	if err != nil {
		return err
	}
	real, err := startProcess(ctx, addrs[0], exe, "serve", "--listen", addrs[0], "--data", filepath.Join(dir, "data"), "--config", config)
	if err != nil {
		return err
	}
	defer real.end()
	bare, err := startProcess(ctx, addrs[1], self, "discard")
	if err != nil {
		return err
	}
	defer bare.end()

	for run := range collectRuns {
		b, err := bare.load(ctx, reports, 0)
		if err != nil {
			return err
		}
		r, err := real.load(ctx, reports, 0)
		if err != nil {
			return err
		}
		fmt.Printf("run %d: discarding handler %s\n       collector          %s\n       ratio %.2f\n", run+1, b, r, r.rate/b.rate)
	}
	paced, err := real.load(ctx, reports, targetRate)
	if err != nil {
		return err
	}
	fmt.Printf("paced at %d/s: %s\n", targetRate, paced)
	return nil
}

// discard serves until it is told to stop.
func discard(ctx context.Context) error {
	s := &http.Server{Addr: os.Getenv("BENCH_LISTEN"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type process struct {
	addr string
	cmd  *exec.Cmd
}

func startProcess(ctx context.Context, addr, exe string, args ...string) (*process, error) {
	p := &process{addr: addr, cmd: exec.Command(exe, args...)}
	p.cmd.Env = append(os.Environ(), "BENCH_LISTEN="+addr)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for range 500 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return p, nil
		}
		select {
		case <-ctx.Done():
			p.end()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.end()
	return nil, fmt.Errorf("%s does not answer on %s", exe, addr)
}

func (p *process) end() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// cpu is the processor time that the process has used so far.
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var user, system int64
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+2:])
	if _, err := fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system); err != nil {
		return 0, err
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil // USER_HZ is 100
}

type result struct {
	what     string  // was sent
	rate     float64 // of them a second
	cpu      time.Duration
	p50, p99 time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("%6.0f %s/s, p50 %.2f ms, p99 %.2f ms, %d µs CPU of the process each",
		r.rate, r.what, r.p50.Seconds()*1e3, r.p99.Seconds()*1e3, r.cpu.Microseconds())
}

// load sends reports for collectFor from as many senders as there are, as fast
// as answers come or paced at a rate.
func (p *process) load(ctx context.Context, reports []sample, rate int) (result, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	cpuBefore, err := p.cpu()
	if err != nil {
		return result{}, err
	}
	var next atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	begin := time.Now()
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			var mine []time.Duration
			var err error
			for err == nil && ctx.Err() == nil && time.Since(begin) < collectFor {
				n := next.Add(1) - 1
				due := time.Now()
				if rate > 0 {
					due = begin.Add(time.Duration(n) * time.Second / time.Duration(rate))
					time.Sleep(time.Until(due))
				}
				err = reports[int(n)%len(reports)].post(ctx, client, p.addr)
				mine = append(mine, time.Since(due)) // from when it was due: waiting for a sender counts
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	elapsed := time.Since(begin)
	cpuAfter, err := p.cpu()
	if err := errors.Join(failed, err); err != nil {
		return result{}, err
	}
	slices.Sort(took)
	return result{
		what: "reports",
		rate: float64(len(took)) / elapsed.Seconds(),
		cpu:  (cpuAfter - cpuBefore) / time.Duration(len(took)),
		p50:  took[len(took)/2], p99: took[len(took)*99/100],
	}, nil
}

func (s sample) post(ctx context.Context, client *http.Client, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+wire.PathReports, bytes.NewReader(s.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", wire.TypeProtobuf)
	req.Header.Set("Content-Encoding", "zstd")
	req.Header.Set(wire.HeaderKey, s.key)
	req.Header.Set(wire.HeaderSignature, s.signature)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the collector answered %s: %s", resp.Status, b)
	}
	return err
}

func freeAddresses(n int) ([]string, error) {
	var addrs []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs, nil
}
