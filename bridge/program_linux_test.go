package bridge

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"
)

// The program under test is this test's executable, started anew: a web server
// over HTTP/1.1, 2 and 3 that can be told to become another executable.

const programVariable = "BRIDGE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if err := wrap(); err != nil {
		slog.Error("the wrapper ends", "error", err)
		os.Exit(1)
	}
	if spec, ok := os.LookupEnv(programVariable); ok {
		if err := runProgram(spec); err != nil {
			slog.Error("the program ends", "error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue || f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set("16") // they wait most of the time
	}
	os.Exit(m.Run())
}

// spec of the program, JSON in its environment.
type spec struct {
	Plain   string // address of cleartext HTTP/1.1
	Secure  string // of TLS, and of QUIC
	Control string // path of a Unix socket, which takes orders
	MPTCP   bool
	Passed  int    // number of a descriptor to accept cleartext HTTP from, as systemd passes one
	Image   string // what /who answers: which executable this plays
	Fault   string // what goes wrong in this image
	Settle  time.Duration
	Self    string // this executable, where there is no /proc to ask
	Log     string
}

// order is what the control socket takes: a switch, and what to do at a step.
type order struct {
	Next                   string // image
	Path                   string // of the next executable; "": this one
	Helper                 string // of the helper; "": this one
	NextFault, HelperFault string
	NoBack                 bool
	Unhealthy              bool
	Grace                  time.Duration
	Patience               time.Duration // for what does not come up; 0: the default
	At                     Step          // when this step is done …
	Do                     string        // … kill-helper, stop-helper, kill-self, exit, reload
	InPlace                bool
	Wait                   bool // the control socket answers with the switch's error
}

var spun int

type webserver struct {
	spec    spec
	retire  atomic.Bool
	abort   atomic.Pointer[error]
	mu      sync.Mutex
	running *running
	keep    []*os.File // from being closed by a finalizer
}

type running struct {
	plain, secure *http.Server
	h3            *http3.Server
	quic          *quic.Transport
	udp           net.PacketConn
}

func runProgram(s string) error {
	var p webserver
	if err := json.Unmarshal([]byte(s), &p.spec); err != nil {
		return err
	}
	f, err := os.OpenFile(p.spec.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(f, nil)).With("image", p.spec.Image, "pid", os.Getpid())
	if p.spec.Fault == "mute" { // as an executable that knows no bridge
		os.Unsetenv(Variable)
		time.Sleep(time.Hour)
	}
	helper, isHelper := AsHelper()
	next, isNext := AsNext()
	switch p.spec.Fault {
	case "exit":
		return errors.New("exits at its start, as it was told to")
	case "hang":
		time.Sleep(time.Hour)
	case "spin":
		for {
			spun++
		}
	}
	up := make(chan error, 1)
	switch {
	case p.spec.Fault == "fail":
		up <- errors.New("does not come up, as it was told to")
	default:
		up <- p.Resume(context.Background())
	}
	if isHelper {
		helper.Log = func(e string, a ...any) { logger.With("role", "helper").Info(e, a...) }
		err := helper.Run(context.Background(), &p, up)
		logger.Info("the helper ends", "error", err)
		return nil
	}
	if isNext {
		next.Log = func(e string, a ...any) { logger.With("role", "next").Info(e, a...) }
		switch p.spec.Fault {
		case "kill-helper":
			_ = syscall.Kill(next.Helper, syscall.SIGKILL)
		case "stop-helper":
			halt(next.Helper)
		}
		go func() {
			err := next.Finish(context.Background(), &p, up)
			logger.Info("finished", "error", err, "instead", next.Failed)
		}()
	} else if err := <-up; err != nil {
		return err
	}
	return p.control(logger)
}

// control serves orders until the process is told to end.
func (p *webserver) control(logger *slog.Logger) error {
	_ = os.Remove(p.spec.Control)
	l, err := net.Listen("unix", p.spec.Control)
	if err != nil {
		return err
	}
	var switching sync.Mutex
	mux := http.NewServeMux()
	mux.HandleFunc("POST /switch", func(w http.ResponseWriter, r *http.Request) {
		var o order
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.abort.Store(nil)
		done := make(chan error, 1)
		switching.Lock()
		go func() {
			defer switching.Unlock()
			done <- p.become(o, logger)
		}()
		if o.Wait {
			fmt.Fprint(w, <-done)
		}
	})
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	<-c
	exit := ErrExit
	p.abort.Store(&exit)
	switching.Lock()
	logger.Info("ends in order")
	return p.Stop(context.Background())
}

func (p *webserver) become(o order, logger *slog.Logger) error {
	self := p.spec.Self
	with := func(image, fault string) []string {
		s := p.spec
		s.Image, s.Fault = image, fault
		b, _ := json.Marshal(s)
		var env []string
		for _, kv := range os.Environ() {
			if !strings.HasPrefix(kv, programVariable+"=") {
				env = append(env, kv)
			}
		}
		return append(env, programVariable+"="+string(b))
	}
	or := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	var helper atomic.Int64
	opts := Options{
		Helper:   Command{Path: or(o.Helper, self), Args: []string{"helper"}, Env: with("helper of "+o.Next, o.HelperFault)},
		Next:     Command{Path: or(o.Path, self), Args: os.Args, Env: with(o.Next, o.NextFault)},
		Server:   p,
		Patience: o.Patience,
		Settle:   p.spec.Settle,
		Grace:    o.Grace,
		Healthy: func(_ context.Context, pid int) error {
			helper.Store(int64(pid))
			if o.Unhealthy {
				return errors.New("answers wrongly")
			}
			return nil
		},
		Log: func(e string, a ...any) {
			logger.With("role", "old").Info(e, a...)
			if e != string(o.At) {
				return
			}
			switch o.Do {
			case "kill-helper":
				_ = syscall.Kill(int(helper.Load()), syscall.SIGKILL)
				for syscall.Kill(int(helper.Load()), 0) == nil { // until it is reaped
					time.Sleep(time.Millisecond)
				}
			case "stop-helper":
				halt(int(helper.Load()))
			case "kill-self":
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				time.Sleep(time.Hour)
			case "exit":
				_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
				for p.Abort() == nil {
					time.Sleep(time.Millisecond)
				}
			case "reload", "reload and serve":
				if o.Do == "reload and serve" {
					if err := p.Resume(context.Background()); err != nil {
						logger.Error("can't serve again", "error", err)
					}
				}
				err := errors.New("the configuration is being changed")
				p.abort.Store(&err)
			}
		},
	}
	if !o.NoBack {
		opts.Back = Command{Path: self, Args: os.Args, Env: with(p.spec.Image+" again", "")}
	}
	if o.InPlace {
		opts.Settle = 50 * time.Millisecond
		return InPlace(context.Background(), opts)
	}
	return Switch(context.Background(), opts)
}

// halt stops a process, and waits until the last of its threads has.
func halt(pid int) {
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	for stopped := false; !stopped; time.Sleep(time.Millisecond) {
		stopped = true
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, t := range tasks {
			b, err := os.ReadFile(t)
			stopped = stopped && (err != nil || bytes.Contains(b, []byte(") T ")))
		}
	}
}

func (p *webserver) Retire(on bool) { p.retire.Store(on) }

func (p *webserver) Abort() error {
	if err := p.abort.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *webserver) Stop(ctx context.Context) error {
	p.mu.Lock()
	r := p.running
	p.running = nil
	p.mu.Unlock()
	if r == nil {
		return nil
	}
	var wg sync.WaitGroup
	for _, s := range []*http.Server{r.plain, r.secure} {
		wg.Add(1)
		go func() { defer wg.Done(); _ = s.Shutdown(ctx) }()
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	_ = r.h3.Shutdown(short)
	cancel()
	_ = r.quic.Close()
	_ = r.udp.Close()
	wg.Wait()
	return nil
}

func (p *webserver) Resume(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		return nil
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(cerr, err)
	}}
	if !p.spec.MPTCP {
		lc.SetMultipathTCP(false)
	}
	plain, err := lc.Listen(context.Background(), "tcp", p.spec.Plain)
	if err != nil {
		return err
	}
	secure, err := lc.Listen(context.Background(), "tcp", p.spec.Secure)
	if err != nil {
		return err
	}
	udp, err := lc.ListenPacket(context.Background(), "udp", p.spec.Secure)
	if err != nil {
		return err
	}
	cert, err := certificate()
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	h := http.HandlerFunc(p.serve)
	r := &running{plain: &http.Server{Handler: h}, secure: &http.Server{Handler: h, TLSConfig: config}, udp: udp}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	r.plain.ErrorLog, r.secure.ErrorLog = quiet, quiet
	r.h3 = &http3.Server{Handler: h}
	r.quic = &quic.Transport{Conn: udp}
	ql, err := r.quic.ListenEarly(http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}), nil)
	if err != nil {
		return err
	}
	go r.plain.Serve(plain)
	go r.secure.ServeTLS(secure, "", "")
	go r.h3.ServeListener(ql)
	if p.spec.Passed != 0 {
		// Its descriptor stays open, for the next image.
		f := os.NewFile(uintptr(p.spec.Passed), "passed")
		p.keep = append(p.keep, f)
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		go r.plain.Serve(l)
	}
	p.running = r
	return nil
}

func (p *webserver) serve(w http.ResponseWriter, r *http.Request) {
	if p.retire.Load() && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Image", p.spec.Image)
	_, permitted, _, _ := capabilities()
	w.Header().Set("Capabilities", fmt.Sprintf("%x", permitted))
	w.Header().Set("Pid", fmt.Sprint(os.Getpid()))
	switch r.URL.Path {
	case "/echo":
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Write(b)
	case "/slow": // 0.6 s in small pieces
		for i := range 12 {
			fmt.Fprintf(w, "%1000d", i)
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	case "/endless":
		for {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	default:
		io.WriteString(w, p.spec.Image)
	}
}

// certificate is each image's own; the tests' clients trust any.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
