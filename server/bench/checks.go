package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	"golang.org/x/mod/module"

	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/wire"
)

// checks measures how many checks of a fleet the real service answers over HTTP,
// in turns with a server that works as Nebraska does: for each check it looks up
// the package of the channel, and writes down what it answered, in PostgreSQL.
func checks(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "evergreen-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	body, err := sampleCheck()
	if err != nil {
		return err
	}
	exe := filepath.Join(dir, "evergreen")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", exe, "./server/cmd/evergreen").CombinedOutput(); err != nil {
		return fmt.Errorf("building the server: %w\n%s", err, out)
	}
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, []byte(`{"roles": ["updates"], "limits": {"per_sender": 1e6, "global": 1e6}}`), 0o600); err != nil {
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
	// The first check is planned, which may fetch what modules require.
	began := time.Now()
	for {
		n, err := checkOnce(ctx, http.DefaultClient, real.addr, body, wire.InstanceID{})
		if err == nil {
			fmt.Printf("a check: %d bytes, its answer %d; the first took %.1f s, with what it fetched\n", len(body), n, time.Since(began).Seconds())
			break
		}
		if time.Since(began) > 10*time.Minute {
			return err
		}
		time.Sleep(time.Second)
	}
	where, end, err := startPostgres(ctx, filepath.Join(dir, "pg"))
	if err != nil {
		fmt.Println("beside PostgreSQL: not measured:", err)
	} else {
		defer end()
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var pg *process
	if where != "" {
		if err := os.Setenv("BENCH_POSTGRES", where); err != nil {
			return err
		}
		if pg, err = startProcess(ctx, addrs[1], self, "roundtrip"); err != nil {
			return err
		}
		defer pg.end()
	}
	for run := range collectRuns {
		r, err := real.checked(ctx, body)
		if err != nil {
			return err
		}
		fmt.Printf("run %d: evergreen   %s\n", run+1, r)
		if pg == nil {
			continue
		}
		b, err := pg.checked(ctx, body)
		if err != nil {
			return err
		}
		fmt.Printf("       PostgreSQL  %s (PostgreSQL's own CPU is not in it)\n       ratio %.1f\n", b, r.rate/b.rate)
	}
	return nil
}

// sampleCheck is what a stock Caddy of a release asks, with this module's
// dependencies as its build list.
func sampleCheck() ([]byte, error) {
	modules, err := build.Modules(".")
	if err != nil {
		return nil, err
	}
	c := wire.Check{System: wire.System{OS: "linux", Arch: "amd64", Kernel: "6.1"}, Scope: wire.ScopeAll, Channel: wire.ChannelStable, Build: wire.BuildList{Go: "go1.26.8"}}
	for _, m := range modules {
		if module.Check(m.Path, m.Version) == nil {
			c.Build.Modules = append(c.Build.Modules, wire.ModuleVersion{Path: m.Path, Version: m.Version, Plugin: m.Plugin})
		}
	}
	c.Build.Sort()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// checkOnce asks as an instance, and tells how long the answer is.
func checkOnce(ctx context.Context, client *http.Client, addr string, body []byte, id wire.InstanceID) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+wire.PathCheck, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", wire.TypeJSON)
	req.Header.Set(wire.HeaderInstance, id.String())
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("a check is answered %s: %.300s", resp.Status, b)
	}
	return len(b), err
}

// checked sends equal checks of different instances for collectFor.
func (p *process) checked(ctx context.Context, body []byte) (result, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	before, err := p.cpu()
	if err != nil {
		return result{}, err
	}
	var next atomic.Uint32
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
				n := next.Add(1)
				sent := time.Now()
				_, err = checkOnce(ctx, client, p.addr, body, wire.InstanceID{1, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
				mine = append(mine, time.Since(sent))
			}
			mu.Lock()
			defer mu.Unlock()
			took, failed = append(took, mine...), errors.Join(failed, err)
		})
	}
	wg.Wait()
	elapsed := time.Since(begin)
	after, err := p.cpu()
	if err := errors.Join(failed, err); err != nil {
		return result{}, err
	}
	slices.Sort(took)
	return result{
		what: "checks", rate: float64(len(took)) / elapsed.Seconds(), cpu: (after - before) / time.Duration(len(took)),
		p50: took[len(took)/2], p99: took[len(took)*99/100],
	}, nil
}

// roundtrip answers each check with one SELECT of the channel's package and one
// INSERT of the event, prepared, over a pool of connections.
func roundtrip(ctx context.Context) error {
	db, err := sql.Open("pgx", os.Getenv("BENCH_POSTGRES"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(32)
	for _, s := range []string{
		"CREATE TABLE channels (app TEXT NOT NULL, arch TEXT NOT NULL, name TEXT NOT NULL, package JSONB NOT NULL, PRIMARY KEY (app, arch, name))",
		`INSERT INTO channels VALUES ('caddy', 'amd64', 'stable', '{"version": "2.11.9", "url": "https://updates.example/caddy", "size": 17000000, "hash": "c2hhMjU2"}')`,
		"CREATE TABLE events (id BIGSERIAL PRIMARY KEY, created TIMESTAMPTZ NOT NULL DEFAULT now(), instance TEXT NOT NULL, app TEXT NOT NULL, kind INT NOT NULL)",
	} {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%.40s: %w", s, err)
		}
	}
	find, err := db.PrepareContext(ctx, "SELECT package FROM channels WHERE app = $1 AND arch = $2 AND name = $3")
	if err != nil {
		return err
	}
	note, err := db.PrepareContext(ctx, "INSERT INTO events (instance, app, kind) VALUES ($1, $2, $3)")
	if err != nil {
		return err
	}
	s := &http.Server{Addr: os.Getenv("BENCH_LISTEN"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		var found []byte
		err := find.QueryRowContext(r.Context(), "caddy", "amd64", "stable").Scan(&found)
		if err == nil {
			_, err = note.ExecContext(r.Context(), r.Header.Get(wire.HeaderInstance), "caddy", 1)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", wire.TypeJSON)
		w.Write(found)
	})}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// startPostgres starts Debian's PostgreSQL with its own defaults on a socket in
// a folder.
func startPostgres(ctx context.Context, dir string) (where string, end func(), err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		return "", nil, errors.New("there is no Debian package postgresql here")
	}
	bin := slices.Max(found)
	// Short: a socket's path has at most 107 bytes.
	if dir, err = os.MkdirTemp("", "pg"); err != nil {
		return "", nil, err
	}
	attributes := &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // which PostgreSQL refuses to run as
		u, err := user.Lookup("nobody")
		if err != nil {
			return "", nil, err
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
			return "", nil, err
		}
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8"), attributes
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "evergreen", "-A", "trust").CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	server := run("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=")
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
		_ = server.Wait()
		_ = os.RemoveAll(dir)
	}
	for range 600 {
		if conn, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.5432")); err == nil {
			conn.Close()
			if run("pg_isready", "-h", dir).Run() == nil {
				return "postgres:///postgres?" + url.Values{"host": {dir}, "user": {"evergreen"}}.Encode(), end, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	end()
	return "", nil, errors.New("it does not answer")
}
