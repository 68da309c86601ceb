package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
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
	fmt.Fprintln(w, "PAGE\tDAYS\tCOLD P50\tP95\tWARM P50\tP95")
	var cold, warm []time.Duration
	for _, p := range present {
		for _, d := range strings.Split(*days, ",") {
			c, wa, err := b.page(ctx, p, d, *times)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", p, d, quantile(c, 50), quantile(c, 95), quantile(wa, 50), quantile(wa, 95))
			cold, warm = append(cold, c...), append(warm, wa...)
		}
	}
	fmt.Fprintf(w, "all\t\t%s\t%s\t%s\t%s\n", quantile(cold, 50), quantile(cold, 95), quantile(warm, 50), quantile(warm, 95))
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

// page measures a page, each time for a span that ends an hour earlier, once
// with no answer in the cache and once with all.
func (b *pageBench) page(ctx context.Context, path, days string, times int) (cold, warm []time.Duration, err error) {
	length, err := time.ParseDuration(days + "h")
	if err != nil || length <= 0 {
		return nil, nil, fmt.Errorf("%q are no days: %w", days, errUsage)
	}
	length *= 24
	for range times {
		b.shift += time.Hour
		if b.shift > 30*24*time.Hour {
			b.shift = time.Hour
		}
		to := b.end.Add(-b.shift)
		q := url.Values{"from": {to.Add(-length).Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
		c, err := b.get(ctx, path+"?"+q.Encode())
		if err != nil {
			return nil, nil, err
		}
		w, err := b.get(ctx, path+"?"+q.Encode())
		if err != nil {
			return nil, nil, err
		}
		cold, warm = append(cold, c), append(warm, w)
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
