package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-evergreen/evergreen/server/fleet"
	"github.com/caddy-evergreen/evergreen/wire"
)

// sendFleet sends the reports of a fleet, many instances at once and the
// reports of each in order.
func sendFleet(ctx context.Context, cfg fleet.Config, server string, senders int, stdout io.Writer) error {
	f, err := fleet.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var next, reports, windows, size atomic.Int64
	begin := time.Now()
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= f.Instances() {
					return
				}
				r, err := f.Reporter(i)
				for err == nil {
					var s fleet.Signed
					var ok bool
					if s, ok, err = r.Next(); err != nil || !ok {
						break
					}
					if err = post(ctx, client, strings.TrimSuffix(server, "/")+wire.PathReports, s); err == nil {
						reports.Add(1)
						windows.Add(int64(s.Windows))
						size.Add(int64(len(s.Body)))
					}
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("sending reports to %s: %w", server, err)
	}
	took := time.Since(begin)
	n := max(reports.Load(), 1)
	fmt.Fprintf(stdout, "%d instances sent %d reports with %d windows in %s: %.0f reports a second, %d bytes each\n",
		f.Instances(), reports.Load(), windows.Load(), took.Round(time.Millisecond), float64(n)/took.Seconds(), size.Load()/n)
	return nil
}

const patience = 20 // attempts of a report before its sender gives up

// post sends a report, and waits where the server asks for it.
func post(ctx context.Context, client *http.Client, url string, s fleet.Signed) error {
	for attempt := 1; ; attempt++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(s.Body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", wire.TypeProtobuf)
		req.Header.Set("Content-Encoding", "zstd")
		req.Header.Set(wire.HeaderKey, hex.EncodeToString(s.Key))
		req.Header.Set(wire.HeaderSignature, hex.EncodeToString(s.Signature))
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("%w (is a server running there?)", err)
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		err = errors.Join(err, resp.Body.Close())
		if err != nil {
			return err
		}
		switch {
		case resp.StatusCode == http.StatusOK:
			return nil
		case attempt < patience && slices.Contains([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}, resp.StatusCode):
			wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if err != nil || wait < 1 || wait > 60 {
				wait = 1
			}
			select {
			case <-time.After(time.Duration(wait) * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			return fmt.Errorf("it answered %s: %s", resp.Status, bytes.TrimSpace(b))
		}
	}
}
