package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

const benchPagesAbout = `Usage: evergreen bench pages --server URL [FLAGS]

Measures how long a server's pages take, from the request to the last byte of
the HTML, without its charts' script.

  cold   each time for a span that was never asked for, so that no answer is in
         the server's cache; one reader
  warm   the same page again; one reader
  many   as many readers as --readers says, each with the same pages in turns

CPU is the processor time of the server for each, which says more than the time
that passed on a machine that has other things to do. It is from the server's
/metrics, and left out where these are not to be had.

Limits of a sender ("limits" in the server's configuration) are to be raised,
since all requests come from one address.`

// benchPaths are measured by default: those with charts.
const benchPaths = "/,/adoption,/instances,/clients,/traffic,/tls,/certificates,/interception,/attacks,/inside"

func benchPages(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("bench pages", benchPagesAbout, stderr)
	server := fs.String("server", "http://127.0.0.1:8400", "`URL` of a running server")
	paths := fs.String("paths", benchPaths, "`PATHS` of pages; those that the server lacks are left out")
	days := fs.String("days", "1,7,30,90", "lengths of the span, in `DAYS`")
	times := fs.Int("times", 10, "how `OFTEN` each is asked for")
	readers := fs.Int("readers", 500, "`NUMBER` of readers at once; 0 leaves them out")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *times < 1 || *times > 1000 || *readers < 0 || *readers > 5000 {
		return fmt.Errorf("pages are asked for 1 to 1000 times by 0 to 5000 readers: %w", errUsage)
	}
	b := &pageBench{
		base: strings.TrimSuffix(*server, "/"), end: time.Now().UTC().Truncate(time.Hour),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: max(*readers, 1)}, Timeout: time.Minute},
	}
	defer b.client.CloseIdleConnections()
	var present []string
	for _, p := range strings.Split(*paths, ",") {
		if _, err := b.get(ctx, p); err == nil {
			present = append(present, p)
		} else if !errors.Is(err, errAbsent) {
			return err
		}
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PAGE\tDAYS\tCOLD P50\tP95\tCPU\tWARM P50\tP95\tCPU")
	var cold, warm loads
	for _, p := range present {
		for _, d := range strings.Split(*days, ",") {
			c, wa, err := b.page(ctx, p, d, *times)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p, d, c, wa)
			cold.add(c)
			warm.add(wa)
		}
	}
	fmt.Fprintf(w, "all\t\t%s\t%s\n", cold, warm)
	if err := w.Flush(); err != nil || *readers == 0 {
		return err
	}
	return b.many(ctx, present, *readers, *times, stdout)
}

type pageBench struct {
	base   string
	client *http.Client
	end    time.Time
	shift  time.Duration // of the last span that was asked for
}

var errAbsent = errors.New("there is no such page")

// get asks for a page and reads all of it.
func (b *pageBench) get(ctx context.Context, path string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	begin := time.Now()
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	took := time.Since(begin)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return took, nil
	case http.StatusNotFound:
		return 0, fmt.Errorf("%s: %w", path, errAbsent)
	}
	return 0, fmt.Errorf("%s: the server answered %s", path, resp.Status)
}

// loads are how long requests took, and the server's processor time for them.
type loads struct {
	took []time.Duration
	cpu  time.Duration // negative: not known
}

func (l *loads) add(o loads) {
	l.took = append(l.took, o.took...)
	l.cpu += o.cpu
}

func (l loads) String() string {
	cpu := "-"
	if l.cpu >= 0 && len(l.took) > 0 {
		cpu = (l.cpu / time.Duration(len(l.took))).Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%s\t%s\t%s", quantile(l.took, 50), quantile(l.took, 95), cpu)
}

// cpu is the processor time that the server has used so far.
func (b *pageBench) cpu(ctx context.Context) (time.Duration, bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "process_cpu_seconds_total "); ok {
			s, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return time.Duration(s * float64(time.Second)), err == nil
		}
	}
	return 0, false
}

// load is a get whose costs are added to l.
func (b *pageBench) load(ctx context.Context, path string, l *loads) error {
	before, known := b.cpu(ctx)
	took, err := b.get(ctx, path)
	if err != nil {
		return err
	}
	l.took = append(l.took, took)
	after, ok := b.cpu(ctx)
	if !known || !ok {
		l.cpu = -1 << 62
	} else {
		l.cpu += after - before
	}
	return nil
}

// page measures a page, each time for a span that ends an hour earlier, once
// with no answer in the cache and once with all.
func (b *pageBench) page(ctx context.Context, path, days string, times int) (cold, warm loads, err error) {
	n, err := strconv.Atoi(days)
	if err != nil || n < 1 || n > 3660 {
		return cold, warm, fmt.Errorf("%q are no days: %w", days, errUsage)
	}
	length := time.Duration(n) * 24 * time.Hour
	for range times {
		b.shift += time.Hour
		if b.shift > 24*time.Hour {
			b.shift = time.Hour
			length += time.Hour
		}
		to := b.end.Add(-b.shift)
		q := url.Values{"from": {to.Add(-length).Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
		for _, l := range []*loads{&cold, &warm} {
			if err := b.load(ctx, path+"?"+q.Encode(), l); err != nil {
				return cold, warm, err
			}
		}
	}
	return cold, warm, nil
}

// many has readers open the pages at once.
func (b *pageBench) many(ctx context.Context, paths []string, readers, times int, stdout io.Writer) error {
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			var mine []time.Duration
			var err error
			for n := 0; n < times && err == nil && ctx.Err() == nil; n++ {
				var d time.Duration
				if d, err = b.get(ctx, paths[(i+n)%len(paths)]+"?range=24h"); err == nil {
					mine = append(mine, d)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took, failed = append(took, mine...), errors.Join(failed, err)
		})
	}
	wg.Wait()
	if err := errors.Join(failed, ctx.Err()); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d readers at once: %d pages in %s, %.0f a second, p50 %s, p95 %s\n", readers, len(took),
		time.Since(begin).Round(time.Millisecond), float64(len(took))/time.Since(begin).Seconds(), quantile(took, 50), quantile(took, 95))
	return nil
}

// quantile is that of some times, in percent; it sorts them.
func quantile(ts []time.Duration, percent int) time.Duration {
	slices.Sort(ts)
	return ts[min(len(ts)-1, len(ts)*percent/100)].Round(100 * time.Microsecond)
}
