package collect

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/wire"
)

// How far a report's times may be from the server's. The past is as long as a
// sender keeps what it could not send, and a day more.
const (
	maxFuture = 10 * time.Minute
	maxPast   = 8 * 24 * time.Hour
)

// How long to stay away when storing fails.
const (
	retryFull   = 5 * time.Minute
	retryFailed = time.Minute
)

// report takes one report, in the order of the package comment: what is cheap
// to check for us and dear to make for an attacker comes first.
func (c *Collector) report(w http.ResponseWriter, r *http.Request, sender netip.Addr) error {
	if c.cfg.Retired {
		return errGone
	}
	rec, report, err := c.receive(w, r, sender)
	if err != nil {
		return err
	}
	start := time.Now()
	err = c.cfg.Log.Append(r.Context(), rec)
	c.m.appending.Observe(time.Since(start).Seconds())
	if err != nil && r.Context().Err() != nil {
		return r.Context().Err()
	}
	c.health.note(c.cfg.Logger, err)
	switch {
	case errors.Is(err, ingestlog.ErrFull):
		return &refusal{kind: kindFull, retry: retryFull, cause: err}
	case err != nil:
		return &refusal{kind: kindFailed, retry: retryFailed, cause: err}
	}
	c.m.windows.Add(float64(len(report.Windows)))
	w.Header().Set("Cache-Control", "no-store")
	answer.JSON(w, wire.TypeJSON, http.StatusOK, wire.Ack{
		StoredThrough: rec.Number,
		ReportEvery:   int64(c.pace.reportEvery(c.cfg.Now()) / time.Second),
	})
	return nil
}

var errGone = refuse(kindGone, "this service takes no more reports from this instance; telemetry stops until the next start")

// receive reads, verifies and decodes a report.
func (c *Collector) receive(w http.ResponseWriter, r *http.Request, sender netip.Addr) (rec ingestlog.Record, report *wire.Report, err error) {
	mediaType, compressed, err := contentType(r, wire.TypeProtobuf, wire.TypeJSON)
	if err != nil {
		return rec, nil, err
	}
	key, signature, err := credentials(r.Header)
	if err != nil {
		return rec, nil, err
	}
	body, err := c.readBody(w, r, wire.MaxBody)
	if err != nil {
		return rec, nil, err
	}
	err = c.decode(r.Context(), func() error {
		if err := wire.Verify(key, wire.PurposeReport, body, signature); err != nil {
			return &refusal{kind: kindSignature, detail: err.Error(), cause: err}
		}
		rec.Received = c.cfg.Now()
		rec.Instance = wire.IDOf(key)
		rec.MediaType = mediaType
		if c.cfg.Gone != nil && c.cfg.Gone(rec.Instance) {
			return errGone
		}
		if rec.Body = body; !compressed {
			rec.Body = c.zstd.EncodeAll(body, make([]byte, 0, len(body)/4+64))
		}
		report, err = c.open(&rec)
		return err
	})
	if err != nil {
		return rec, nil, err
	}
	if c.cfg.Geo != nil && sender.IsValid() {
		rec.Country, rec.Network = c.cfg.Geo.Lookup(sender)
	}
	return rec, report, nil
}

// open decodes a record's body, checks it, and fills in what the record takes
// from it. The same functions read the record again when it is aggregated.
func (c *Collector) open(rec *ingestlog.Record) (*wire.Report, error) {
	report, err := rec.Report()
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, &refusal{kind: kindTooLarge, detail: fmt.Sprintf("a report has at most %d bytes when it is decompressed", wire.MaxReport), cause: err}
	}
	if err != nil {
		// What the decoders say is of the sender's own content: it may know.
		return nil, &refusal{kind: kindUndecodable, detail: err.Error(), cause: err}
	}
	incidents := hasIncidents(report) // before what isn't known is dropped
	dropped, err := report.Clean()
	if err != nil {
		return nil, &refusal{kind: kindInvalid, detail: err.Error(), cause: err}
	}
	if incidents {
		if err := c.resolve(rec, report); err != nil {
			return nil, err
		}
	}
	rec.Number = report.Number
	rec.From, rec.To = report.Span()
	if err := checkClock(rec.Received, time.Unix(report.Created, 0), time.Unix(rec.From, 0), time.Unix(rec.To, 0)); err != nil {
		return nil, err
	}
	c.m.dropped.Add(float64(dropped))
	return report, nil
}

func checkClock(now, created, from, to time.Time) error {
	for _, t := range []struct {
		what string
		at   time.Time
	}{
		{"it was made", created},
		{"its first window begins", from},
		{"its last window ends", to},
	} {
		format := ""
		switch d := t.at.Sub(now); {
		case d > maxFuture:
			format = "by its own clock %s at %s, but here it is %s: set the clock of the machine that sends"
		case d < -maxPast:
			format = "%s at %s, but here it is %s and nothing older than 8 days is taken"
		default:
			continue
		}
		return refuse(kindClock, fmt.Sprintf(format, t.what, t.at.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
	}
	return nil
}
