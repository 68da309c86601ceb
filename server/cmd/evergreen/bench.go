package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-evergreen/evergreen/server/fleet"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
	"github.com/caddy-evergreen/evergreen/wire"
)

const benchAbout = `Usage: evergreen bench fleet [FLAGS]
       evergreen bench pages [FLAGS]

  fleet   makes up a fleet of instances, and its history
  pages   measures how fast a server's pages come

` + "`evergreen bench fleet --help` and `evergreen bench pages --help` tell more."

func bench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "fleet":
			return benchFleet(ctx, args[1:], stdout, stderr)
		case "pages":
			return benchPages(ctx, args[1:], stdout, stderr)
		case "-h", "-help", "--help":
			fmt.Fprintln(stdout, benchAbout)
			return nil
		}
	}
	fmt.Fprintln(stderr, benchAbout)
	return errUsage
}

const benchFleetAbout = `Usage: evergreen bench fleet --instances N --days D --rollups --data FOLDER [FLAGS]
       evergreen bench fleet --instances N --days D --server URL [FLAGS]

Makes up a fleet of Caddy instances with a history: daily and weekly rhythms,
countries, versions that are adopted and left, growth, releases, botnets and
outages. The same seed makes the same fleet.

With --rollups it writes sums, as if all had reported, into the store in a data
folder that has none yet, at any size; ` + "`evergreen serve --data FOLDER`" + ` shows them,
marked as simulated on every page.

With --server it speaks the real protocol: every instance has its own key, signs
its reports, and sends them in order, an hour of windows in each, to a server
that is running; at most seven days, since servers refuse older windows. Set
"simulated": true in that server's configuration, so that its pages say so, and
raise "limits", since all reports come from one address.`

// simulatedFile in a data folder says that what is in it is made up.
const simulatedFile = "SIMULATED"

func benchFleet(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("bench fleet", benchFleetAbout, stderr)
	instances := fs.Int("instances", 1000, "`NUMBER` of instances at the end of the history")
	days := fs.Int("days", 7, "`DAYS` of history, up to today")
	seed := fs.Uint64("seed", 1, "`NUMBER` that the fleet follows from")
	rollups := fs.Bool("rollups", false, "write sums into the store of --data")
	data := fs.String("data", "", "data `FOLDER` of a server that is not running")
	windows := fs.Duration("windows", 48*time.Hour, "with --rollups, for how `LONG` before the end sums of five minutes are written, too")
	hours := fs.Duration("hours", 0, "the same for sums of an hour; 0 is all of the history, of which there are sums of days in any case")
	server := fs.String("server", "", "`URL` of a running server to send reports to")
	senders := fs.Int("senders", 16, "with --server, how `MANY` instances send at once")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case *rollups == (*server != ""):
		return fmt.Errorf("choose --rollups with --data, or --server: %w", errUsage)
	case *rollups && *data == "":
		return fmt.Errorf("say with --data where the store is to be: %w", errUsage)
	case *windows < 0 || *hours < 0:
		return fmt.Errorf("--windows and --hours are lengths of time: %w", errUsage)
	case *days < 1:
		return fmt.Errorf("%d days are no history: %w", *days, errUsage)
	case *server != "" && *days > 7:
		return fmt.Errorf("servers refuse windows that are older than eight days: send at most 7 days, or write a longer history with --rollups: %w", errUsage)
	case *senders < 1 || *senders > 256:
		return fmt.Errorf("%d senders are not 1 to 256: %w", *senders, errUsage)
	}
	to := time.Now().UTC().Truncate(wire.DefaultTiming.Window)
	cfg := fleet.Config{Seed: *seed, Instances: *instances, To: to, From: to.Truncate(24*time.Hour).AddDate(0, 0, 1-*days), Windows: *windows, Hours: *hours}
	if *rollups {
		w, err := writeFleet(ctx, cfg, *data, to, stdout, func(*fleet.Fleet) {})
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "Written: %s.\nLook at it: evergreen serve --data %s\n", w, *data)
		return nil
	}
	cfg.From = to.Truncate(time.Hour).Add(-time.Duration(*days) * 24 * time.Hour)
	return sendFleet(ctx, cfg, *server, *senders, stdout)
}

// writeFleet writes a fleet's history, until a time, into the store of a new
// data folder. made is given the fleet.
func writeFleet(ctx context.Context, cfg fleet.Config, data string, until time.Time, stdout io.Writer, made func(*fleet.Fleet)) (w fleet.Written, err error) {
	path := filepath.Join(data, storeFile)
	if _, err := os.Stat(path); err == nil {
		return w, fmt.Errorf("%s is there already: simulated numbers are never mixed with others; choose another folder with --data", path)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return w, fmt.Errorf("making the data folder: %w (choose another with --data)", err)
	}
	begin := time.Now()
	f, err := fleet.New(cfg)
	if err != nil {
		return w, err
	}
	fmt.Fprintf(stdout, "%d instances from %s on, made up in %s\n", f.Instances(), cfg.From.Format(time.DateOnly), time.Since(begin).Round(time.Millisecond))
	made(f)
	for _, e := range f.Events() {
		if e.From.After(until) {
			continue
		}
		fmt.Fprintf(stdout, "  %s  %-10s %s\n", e.From.Format("2006-01-02 15:04"), e.Kind, e.Of)
	}
	// First of all, so that no crash leaves numbers that pass for real.
	if err := os.WriteFile(filepath.Join(data, simulatedFile), []byte("The numbers in this folder were made up by `evergreen bench fleet` or `evergreen demo`.\n"), 0o600); err != nil {
		return w, fmt.Errorf("marking the data folder as simulated: %w", err)
	}
	s, err := duckdb.Open(path, duckdb.Options{})
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if w, err = f.Write(ctx, s, cfg.From, until); err != nil {
		return w, err
	}
	if err := s.Compact(ctx, until.Add(-time.Hour)); err != nil {
		return w, err
	}
	took := time.Since(begin)
	rows := 0
	for _, n := range w.Rows {
		rows += n
	}
	info, err := os.Stat(path)
	if err != nil {
		return w, err
	}
	perDay := float64(info.Size()) / float64(cfg.Instances) / (until.Sub(cfg.From).Hours() / 24)
	fmt.Fprintf(stdout, "%d rows in %s (%.0f a second); %d MiB on disk, %.1f bytes a row, %.0f bytes an instance and day\n",
		rows, took.Round(time.Millisecond), float64(rows)/took.Seconds(), info.Size()>>20, float64(info.Size())/float64(max(rows, 1)), perDay)
	return w, nil
}

var _ fleet.Store = store.Store(nil)
var _ fleet.Loader = (*duckdb.Store)(nil)
