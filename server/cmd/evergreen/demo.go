package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/wire"
)

const demoAbout = `Usage: evergreen demo [FLAGS]

Shows telemetry at work on this machine: starts the service, builds a Caddy with
the module, starts it with a small site, and sends it varied traffic over
HTTP/1.1, HTTP/2 and HTTP/3, until Ctrl-C. Windows last ten seconds instead of
five minutes, so that numbers arrive at once. Needs Go; the first build takes a
few minutes, later ones seconds. Nothing leaves this machine but what ` + "`go`" + ` asks
the module proxy for.

With --history the pages begin with the past of a simulated fleet, which goes on
reporting while one watches; they say that it is simulated. Windows last a
minute then. It is made anew at each start, in its own folder.`

// demoTiming makes numbers arrive while one watches.
var demoTiming = wire.Timing{Window: 10 * time.Second, Notice: 0, ReportEvery: 10 * time.Second}

func demo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("demo", demoAbout, stderr)
	listen := fs.String("listen", "127.0.0.1:8400", "`ADDRESS` for the pages")
	dir := fs.String("dir", "", "`FOLDER` for all of the demonstration's files (default below the user's cache folder)")
	caddy := fs.String("caddy", "v2.11.9", "`VERSION` of Caddy to build")
	module := fs.String("module", "", "`FOLDER` with the module's source (default: the checkout that the current folder is in, else this program's own version)")
	rate := fs.Int("rate", 20, "`REQUESTS` a second, 1 to 200")
	history := fs.String("history", "", "simulate a fleet that has reported for so `LONG`, such as 90d (default none)")
	instances := fs.Int("instances", 120, "`NUMBER` of instances of the simulated fleet, 1 to 5000; the more, the longer the start takes")
	seed := fs.Uint64("seed", 1, "`NUMBER` that the simulated fleet follows from")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *rate < 1 || *rate > 200 {
		return fmt.Errorf("a rate of %d is not between 1 and 200: %w", *rate, errUsage)
	}
	if *dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("finding a folder: %w (choose one with --dir)", err)
		}
		*dir = filepath.Join(cache, "evergreen", "demo")
	}
	d := &demonstration{dir: *dir, rate: *rate, out: stdout, timing: demoTiming, data: "service"}
	if *history != "" {
		days, err := parseDays(*history)
		if err != nil {
			return err
		}
		if *instances < 1 || *instances > 5000 {
			return fmt.Errorf("a simulated fleet of %d instances is not between 1 and 5000: %w", *instances, errUsage)
		}
		d.timing, d.data = wire.Timing{Window: time.Minute, ReportEvery: time.Minute}, "simulated"
		d.past = &pastFleet{days: days, instances: *instances, seed: *seed}
	}
	err := d.run(ctx, *listen, *caddy, *module)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C is how it ends
	}
	if err == nil {
		fmt.Fprintf(stdout, "\nEnded. Logs and data stay in %s.\n", *dir)
	}
	return err
}

type demonstration struct {
	dir    string
	data   string // the service's folder in dir
	rate   int
	out    io.Writer
	timing wire.Timing
	past   *pastFleet // nil: none
}

func (d *demonstration) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d *demonstration) run(ctx context.Context, listen, version, module string) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w (choose another with --dir)", err)
	}
	// The port is taken first: better to fail now than after minutes of building.
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening: %w (is a demonstration running already? Choose another address with --listen)", err)
	}
	base := "http://" + ln.Addr().String()

	spec, err := demoSpec(version, module)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	builder := &build.Builder{Progress: d.out}
	exe, err := builder.Caddy(ctx, spec)
	if err != nil {
		return errors.Join(err, ln.Close())
	}

	if d.past != nil {
		if err := d.past.write(ctx, filepath.Join(d.dir, d.data), d.timing, d.out); err != nil {
			return errors.Join(err, ln.Close())
		}
	}
	stopServing, err := d.serve(ctx, ln)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	runErr := d.traffic(ctx, exe, base)
	return errors.Join(runErr, stopServing())
}

// demoSpec finds the source of the module that the demonstration is of.
func demoSpec(version, module string) (build.Spec, error) {
	spec := build.Spec{Caddy: version, Source: module}
	if module != "" {
		return spec, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return spec, err
	}
	if spec.Source, err = build.FindSource(dir); err == nil {
		return spec, nil
	}
	if spec.Version = ownVersion(); !strings.HasPrefix(spec.Version, "v") {
		return spec, fmt.Errorf("%w, and this program was built from none that was released: say where it is with --module", err)
	}
	return spec, nil
}

// serve starts the service in this process; its log goes to a file.
func (d *demonstration) serve(ctx context.Context, ln net.Listener) (stop func() error, err error) {
	log, err := os.OpenFile(filepath.Join(d.dir, "service.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the service's log: %w", err)
	}
	config := defaultConfig()
	config.Data = filepath.Join(d.dir, d.data)
	config.Name = "Evergreen demonstration"
	config.ReportEvery.Duration = d.timing.ReportEvery
	config.Roles = []string{roleCollect, roleDashboard}
	config.Updates.Control = controlIn(config.Data)
	s, err := newService(ctx, config, d.timing, slog.New(slog.NewTextHandler(log, nil)), "")
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	// The service ends after Caddy, which sends what it has left when it stops.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	simulated := make(chan struct{})
	go func() {
		defer close(simulated)
		if d.past != nil {
			d.past.goOn(ctx, s)
		}
	}()
	go func() {
		err := s.Run(ctx, ln)
		cancel()
		<-simulated
		done <- errors.Join(err, s.Close(), log.Close())
	}()
	return func() error {
		cancel()
		return <-done
	}, nil
}

// traffic runs Caddy and its visitors until ctx is done.
func (d *demonstration) traffic(ctx context.Context, exe, base string) error {
	ports, err := testbed.PickPorts()
	if err != nil {
		return err
	}
	d.say("starting Caddy with a small site on https://localhost:%d", ports.HTTPS)
	caddy, err := testbed.StartCaddy(ctx, exe, filepath.Join(d.dir, "caddy"), testbed.Site(ports), ports,
		"EVERGREEN_ENDPOINT="+base,
		"EVERGREEN_WINDOW="+d.timing.Window.String(),
		"EVERGREEN_NOTICE="+d.timing.Notice.String(),
		"EVERGREEN_REPORT_EVERY="+d.timing.ReportEvery.String())
	if err != nil {
		return err
	}
	sendErr := d.send(ctx, caddy, base)
	d.say("\nstopping Caddy, which sends its last report …")
	return errors.Join(sendErr, caddy.Stop())
}

// send sends caddy visitors until ctx is done.
func (d *demonstration) send(ctx context.Context, caddy *testbed.Caddy, base string) error {
	visitors, err := testbed.NewVisitors(ctx, caddy, d.rate)
	if err != nil {
		return err
	}
	d.say("sending it %d requests a second over HTTP/1.1, HTTP/2 and HTTP/3", d.rate)
	link, err := caddy.Evergreen(ctx, "link")
	if err != nil {
		return err
	}
	d.say("")
	d.say("  overview        %s/", base)
	d.say("  this instance   %s&range=1h", strings.TrimSpace(link))
	d.say("  dictionary      %s/dictionary", base)
	d.say("  JSON API        %s/api/v1/openapi.json", base)
	d.say("  next report     %s", caddy.AdminURL("/evergreen/report"))
	d.say("")
	d.say("The first numbers arrive within %s. Ctrl-C ends it.", 2*d.timing.Window)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		visitors.Run(ctx)
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-caddy.Done():
		cancel()
		<-ended
		return errors.New("Caddy ended by itself\n" + caddy.LogTail(15))
	}
}
