package fleet

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/wire"
)

// TestReports checks that a fleet's reports are such as instances send: signed,
// in order, and clean.
func TestReports(t *testing.T) {
	f, err := New(Config{Seed: 5, Instances: 6, From: to.Truncate(time.Hour).Add(-4 * time.Hour), To: to})
	if err != nil {
		t.Fatal(err)
	}
	unzip, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unzip.Close()
	for i := range f.Instances() {
		r, err := f.Reporter(i)
		if err != nil {
			t.Fatal(err)
		}
		again, err := f.Reporter(i)
		if err != nil {
			t.Fatal(err)
		}
		number, last := uint64(0), int64(0)
		for {
			s, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if o, _, _ := again.Next(); !bytes.Equal(o.Body, s.Body) {
				t.Error("the same instance reports otherwise")
			}
			if err := wire.Verify(s.Key, wire.PurposeReport, s.Body, s.Signature); err != nil {
				t.Error(err)
			}
			if wire.IDOf(s.Key) != f.pop[i].id || len(s.Body) > wire.MaxBody {
				t.Errorf("a report of %s with %d bytes", wire.IDOf(s.Key), len(s.Body))
			}
			b, err := unzip.DecodeAll(s.Body, nil)
			if err != nil {
				t.Fatal(err)
			}
			var report, clean wire.Report
			if err := proto.Unmarshal(b, &report); err != nil {
				t.Fatal(err)
			}
			if err := proto.Unmarshal(b, &clean); err != nil {
				t.Fatal(err)
			}
			if dropped, err := clean.Clean(); err != nil || dropped > 0 {
				t.Fatalf("a report is not clean: %d dropped, %v", dropped, err)
			}
			if d := cmp.Diff(report.Facts.String(), clean.Facts.String()); d != "" {
				t.Errorf("facts that are not in the vocabulary:\n%s", d)
			}
			from, until := report.Span()
			if report.Number != number+1 || from < last || until > to.Unix() || len(report.Windows) != s.Windows {
				t.Errorf("report %d from %d to %d after report %d until %d", report.Number, from, until, number, last)
			}
			number, last = report.Number, until
		}
		if number == 0 && f.pop[i].alive(f.end-1) {
			t.Errorf("instance %d sent nothing", i)
		}
	}
}
