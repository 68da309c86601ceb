package evergreen

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// writeStatus prints a status for people, as a table.
func writeStatus(out io.Writer, d statusDocument, now time.Time) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }

	telemetry := d.Telemetry
	if d.Reason != "" {
		telemetry += " (" + d.Reason + ")"
	}
	row("Telemetry", "%s", telemetry)
	row("Version", "Evergreen %s, Caddy %s", orUnknown(d.Version), orUnknown(d.CaddyVersion))
	if d.Telemetry != "off" {
		row("Instance", "%s", or(d.Instance, "none yet"))
		row("Endpoint", "%s", or(d.Endpoint, "none: nothing is sent"))
		row("State", "%s", orUnknown(d.State))
		if d.Label != "" {
			row("Label", "%s", d.Label)
		}
		if !d.FirstSend.IsZero() && d.FirstSend.After(now) {
			row("First send", "not before %s", when(d.FirstSend, now))
		}
		if !d.NextSend.IsZero() {
			row("Next send", "%s", when(d.NextSend, now))
		}
		if s := d.LastSend; s != nil {
			row("Last send", "%s: report %d, %s, %s", when(s.Time, now), s.Number, bytesText(int64(s.Bytes)), outcome(s.Status, s.Error))
		}
		row("Stored", "through report %d", d.StoredThrough)
		memory := ""
		if d.MemoryOnly {
			memory = ", in memory only: the data directory can't be written"
		}
		row("Waiting", "%s, %s%s", plural(uint64(d.SpoolReports), "report"), bytesText(d.SpoolBytes), memory)
		row("Dropped", "%s, %s since the start", plural(d.DroppedReports, "report"), plural(d.DroppedWindows, "window"))
		row("Interval", "a report every %s, windows of %s", seconds(d.ReportEvery), seconds(d.Window))
		if len(d.MetricsOff) > 0 {
			row("Metrics off", "%s", strings.Join(d.MetricsOff, ", "))
		}
		if d.LastError != "" {
			row("Last error", "%s", d.LastError)
		}
	}
	writeUpdates(row, d.Updates, now)
	for i, f := range d.Fallbacks {
		name := ""
		if i == 0 {
			name = "Limits"
		}
		row(name, "%s", f)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := out.Write(b.Bytes())
	return err
}

func outcome(status int, failed string) string {
	switch {
	case status == 0:
		return "no answer"
	case failed != "":
		return fmt.Sprintf("refused (HTTP %d)", status)
	}
	return fmt.Sprintf("taken (HTTP %d)", status)
}

func orUnknown(s string) string { return or(s, "unknown") }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// when is a time and how far it is from now.
func when(t, now time.Time) string {
	d := t.Sub(now).Round(time.Second)
	switch {
	case d > 0:
		return fmt.Sprintf("%s (in %s)", clock(t), d)
	case d < 0:
		return fmt.Sprintf("%s (%s ago)", clock(t), -d)
	}
	return clock(t) + " (now)"
}

func seconds(s float64) string {
	return (time.Duration(s * float64(time.Second))).Round(time.Millisecond).String()
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func bytesText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
