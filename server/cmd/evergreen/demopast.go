package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/fleet"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A pastFleet is a simulated fleet that a demonstration begins with and that
// goes on reporting.
type pastFleet struct {
	days, instances int
	seed            uint64

	fleet *fleet.Fleet
	next  time.Time // start of the first window that is not written
}

// parseDays reads a length such as 90d.
func parseDays(s string) (int, error) {
	days, err := strconv.Atoi(strings.TrimSuffix(s, "d"))
	if err != nil || !strings.HasSuffix(s, "d") || days < 1 || days > 1000 {
		return 0, fmt.Errorf("--history is %.20q: say 1d to 1000d, such as 90d: %w", s, errUsage)
	}
	return days, nil
}

// ahead is for how long a demonstration can go on.
const ahead = 7 * 24 * time.Hour

// write makes the fleet up and writes its past into a data folder, whatever was
// there: the folder is the simulation's own.
func (p *pastFleet) write(ctx context.Context, data string, timing wire.Timing, out io.Writer) error {
	if _, err := os.Stat(filepath.Join(data, storeFile)); err == nil {
		if _, err := os.Stat(filepath.Join(data, simulatedFile)); err != nil {
			return fmt.Errorf("%s has a store that is not marked as simulated, and is left alone: choose another folder with --dir", data)
		}
	}
	if err := os.RemoveAll(data); err != nil {
		return fmt.Errorf("removing the last simulation: %w", err)
	}
	now := timing.WindowStart(time.Now())
	cfg := fleet.Config{
		Seed: p.seed, Instances: p.instances, Timing: timing,
		From: now.Truncate(24*time.Hour).AddDate(0, 0, -p.days), To: now.Add(ahead),
		// What pages draw by window and by hour; all else is days.
		Windows: ahead + 2*time.Hour, Hours: ahead + 32*24*time.Hour,
	}
	fmt.Fprintf(out, "making up %d days of %d instances …\n", p.days, p.instances)
	_, err := writeFleet(ctx, cfg, data, now, out, func(f *fleet.Fleet) { p.fleet, p.next = f, now })
	return err
}

// goOn writes each window when it has ended, until ctx is done or the fleet's
// time is over. What fails is logged; the pages go on.
func (p *pastFleet) goOn(ctx context.Context, s *service) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("the simulated fleet ends here; please report this", "panic", r)
		}
	}()
	window := s.timing.Window
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(p.next.Add(window + 2*time.Second))):
		}
		until := s.timing.WindowStart(time.Now())
		if _, err := p.fleet.Write(ctx, s.store, p.next, until); err != nil {
			if ctx.Err() == nil {
				s.log.Error("the simulated fleet ends here: its reports can't be stored", "error", err)
			}
			return
		}
		s.pages.Tell()
		p.next = until
	}
}
