package reporter

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

const example = "https://telemetry.example"

// run starts r and answers what stops it.
func (r *rig) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestEveryWindowArrivesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv := newService(t)
		r := newRig(t, filepath.Join(t.TempDir(), "evergreen"), example, wire.DefaultTiming, sv)
		started := time.Now()
		stop := r.run(t)
		time.Sleep(10*time.Minute - time.Second)
		if len(sv.all()) > 0 {
			t.Errorf("sent %s after the notice", sv.all()[0].at.Sub(started))
		}
		if st := r.Status(); st.State != StateFirst || !st.FirstSend.Equal(started.Add(10*time.Minute)) || st.NextSend.Before(st.FirstSend) {
			t.Errorf("%+v", st)
		}
		time.Sleep(2 * time.Hour)
		if st := r.Status(); st.State != StateWaiting || st.LastError != "" {
			t.Errorf("%+v", st)
		}
		stop()
		if sv.windows() != r.windows.total() {
			t.Errorf("%d of %d windows arrived", sv.windows(), r.windows.total())
		}
		for i, a := range sv.all() {
			if a.number != uint64(i+1) || a.instance != r.Status().Instance {
				t.Errorf("arrival %d is report %d of %s", i, a.number, a.instance)
			}
		}
		// In steady state a report has one window; the last one comes at the stop.
		for _, a := range sv.all()[2 : len(sv.all())-1] {
			if a.windows != 1 {
				t.Errorf("report %d has %d windows", a.number, a.windows)
			}
		}
		if r.count(lineNotice) != 1 || r.logs.Len() != 1 {
			t.Errorf("log: %v", r.logs.All())
		}
		h := r.History()
		if len(h) != len(sv.all()) || h[0].Number != uint64(len(h)) || h[0].Status != 200 || h[0].StoredThrough != h[0].Number || h[0].Bytes == 0 {
			t.Errorf("history: %+v", h[0])
		}
	})
}

func TestNoticeIsGivenOnceAndItsWaitLastsThroughRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		sv := newService(t)
		first := time.Now()
		for i := range 4 {
			r := newRig(t, dir, example, wire.DefaultTiming, sv)
			r.shift(i)
			stop := r.run(t)
			time.Sleep(3 * time.Minute)
			if i < 3 && r.Status().State != StateFirst {
				t.Errorf("start %d: %+v", i, r.Status())
			}
			stop()
			want := [2]int{0, 1}
			if i == 0 {
				want = [2]int{1, 0}
			}
			if got := [2]int{r.count(lineNotice), r.count(lineOn)}; got != want {
				t.Errorf("start %d: notice and short line %v, want %v", i, got, want)
			}
		}
		if len(sv.all()) == 0 || sv.all()[0].at.Sub(first) < 10*time.Minute {
			t.Errorf("arrived: %+v", sv.all())
		}
	})
}

func TestServerDirectsTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv := newService(t)
		sv.every = 6 * 3600
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(49 * time.Hour)
		if n := len(sv.all()); n < 8 || n > 10 {
			t.Errorf("%d reports in two days", n)
		}
		if st := r.Status(); st.ReportEvery != 6*time.Hour {
			t.Errorf("%+v", st)
		}
		for _, a := range sv.all()[2:] {
			if a.windows < 68 || a.windows > 76 {
				t.Errorf("report %d has %d windows", a.number, a.windows)
			}
		}
		stop()
		if sv.windows() != r.windows.total() {
			t.Errorf("%d of %d windows arrived", sv.windows(), r.windows.total())
		}
	})
}

func TestRetryAfterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv := newService(t, answerWith(429, "", "Retry-After", "5400"), answerWith(503, "", "Retry-After", "864000"))
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(20 * time.Minute)
		if st := r.Status(); st.State != StateRetrying || st.LastError == "" {
			t.Errorf("%+v", st)
		}
		time.Sleep(10 * time.Hour)
		stop()
		if len(sv.all()) < 3 {
			t.Fatalf("arrived: %+v", sv.all())
		}
		for i, want := range []time.Duration{90 * time.Minute, 6 * time.Hour} {
			if d := sv.all()[i+1].at.Sub(sv.all()[i].at); d < want || d > want+2*time.Minute {
				t.Errorf("attempt %d came after %s, want %s", i+1, d, want)
			}
		}
		if sv.windows() != r.windows.total() {
			t.Errorf("%d of %d windows arrived", sv.windows(), r.windows.total())
		}
		if r.count(lineFailed) != 1 || r.count(lineRecovered) != 1 {
			t.Errorf("log: %v", r.logs.All())
		}
	})
}

func TestRetryAfterHoldsAtTheEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		sv := newService(t, answerWith(429, "", "Retry-After", "3600"))
		timing := wire.DefaultTiming
		timing.Notice = 0
		r := newRig(t, dir, example, timing, sv)
		stop := r.run(t)
		time.Sleep(11 * time.Minute)
		stop()
		if len(sv.all()) != 1 {
			t.Errorf("arrived: %+v", sv.all())
		}
		next := newRig(t, dir, example, timing, sv)
		next.shift(1)
		stop = next.run(t)
		time.Sleep(11 * time.Minute)
		stop()
		if sv.windows() != r.windows.total()+next.windows.total() {
			t.Errorf("%d of %d+%d windows arrived", sv.windows(), r.windows.total(), next.windows.total())
		}
	})
}

func TestAWeekOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("connection refused")
		var attempts atomic.Int64
		sv := newService(t)
		var up atomic.Bool
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, roundTrip(func(req *http.Request) (*http.Response, error) {
			attempts.Add(1)
			if !up.Load() {
				return nil, down
			}
			return sv.RoundTrip(req)
		}))
		stop := r.run(t)
		time.Sleep(3*24*time.Hour + time.Minute)
		if n := r.count(lineFailed); n != 3 || r.logs.Len() != n+1 {
			t.Errorf("%d lines in three days: %v", n, r.logs.All())
		}
		if n := attempts.Load(); n < 3*24 || n > 3*24*4 {
			t.Errorf("%d attempts in three days", n)
		}
		st := r.Status()
		if st.State != StateRetrying || st.SpoolReports > 3*24/8+2 || st.NextNumber != 1 {
			t.Errorf("%+v", st)
		}
		up.Store(true)
		time.Sleep(2 * time.Hour)
		if r.count(lineRecovered) != 1 {
			t.Errorf("log: %v", r.logs.All())
		}
		if st := r.Status(); st.LastError != "" || st.State != StateWaiting || st.DroppedReports > 0 {
			t.Errorf("%+v", st)
		}
		stop()
		if sv.windows() != r.windows.total() {
			t.Errorf("%d of %d windows arrived", sv.windows(), r.windows.total())
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTenDaysOfflineLoseThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("connection refused")
		}))
		// Hours as windows make the ten days short; a report holds eight.
		r.c.Timing.Window = time.Hour
		r.windows.timing.Window = time.Hour
		stop := r.run(t)
		time.Sleep(10 * 24 * time.Hour)
		stop()
		age := r.windows.added["age"]
		if age[1] < 2*24 || age[1] > 3*24 || age[0] == 0 {
			t.Errorf("dropped %v", r.windows.added)
		}
		if st := r.Status(); st.DroppedReports != uint64(age[0]) || st.DroppedWindows != uint64(age[1]) || st.SpoolReports > 7*24/8+2 {
			t.Errorf("%+v", st)
		}
	})
}

func TestGoneStopsUntilTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		sv := newService(t, answerWith(410, `{"title":"this service has ended","status":410}`, "Content-Type", wire.TypeProblem))
		r := newRig(t, dir, example, wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(26 * time.Hour)
		if st := r.Status(); st.State != StateStopped || !st.NextSend.IsZero() || st.LastError != "the server answered 410: this service has ended" {
			t.Errorf("%+v", st)
		}
		stop()
		if len(sv.all()) != 1 || r.count(lineStopped) != 1 {
			t.Errorf("arrived: %+v, log: %v", sv.all(), r.logs.All())
		}
		again := newRig(t, dir, example, wire.DefaultTiming, sv)
		again.shift(1)
		stop = again.run(t)
		time.Sleep(time.Hour)
		stop()
		if len(sv.all()) < 2 || sv.all()[1].number != 1 {
			t.Errorf("arrived: %+v", sv.all())
		}
	})
}

func TestAnotherEndpointLiftsTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv := newService(t, answerWith(410, ""))
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(time.Hour)
		r.SetEndpoint(example)
		time.Sleep(time.Hour)
		if len(sv.all()) != 1 {
			t.Errorf("the same endpoint is asked again: %+v", sv.all())
		}
		r.SetEndpoint("https://other.example")
		time.Sleep(time.Hour)
		stop()
		if sv.windows() != r.windows.total() {
			t.Errorf("%d of %d windows arrived", sv.windows(), r.windows.total())
		}
	})
}

func TestRejectedReportsAreDroppedAndTheNextFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv := newService(t, answerWith(413, ""), nil, answerWith(422, ""), answerWith(400, ""))
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(time.Hour)
		stop()
		if rejected := r.windows.added["rejected"]; rejected[0] != 3 || sv.windows()+rejected[1] != r.windows.total() {
			t.Errorf("%d of %d windows arrived, dropped %v", sv.windows(), r.windows.total(), r.windows.added)
		}
		if st := r.Status(); st.DroppedReports != 3 || st.SpoolReports != 0 {
			t.Errorf("%+v", st)
		}
		if r.count(lineRefused) != 1 {
			t.Errorf("log: %v", r.logs.All())
		}
	})
}

func TestAnswersThatAreNoneLeaveTheReportInTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv := newService(t,
			answerWith(200, "<html>please log in</html>"),
			answerWith(200, `{"stored_through":0,"report_every":300}`),
			answerWith(200, `{"report_every":300}`),
			answerWith(200, `{"stored_through":1}{"stored_through":1}`),
			answerWith(200, `{"stored_through":-1}`),
			answerWith(200, string(make([]byte, maxAnswer+1))),
			answerWith(302, "", "Location", "https://elsewhere.example/"),
			answerWith(404, ""), answerWith(403, "<html>blocked</html>"), answerWith(500, ""), answerWith(503, ""), answerWith(408, ""))
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(24 * time.Hour)
		for i, a := range sv.all()[:13] {
			if a.number != 1 {
				t.Errorf("arrival %d is report %d", i, a.number)
			}
		}
		stop()
		if sv.windows() != r.windows.total() || len(r.windows.added) > 0 {
			t.Errorf("%d of %d windows arrived, dropped %v", sv.windows(), r.windows.total(), r.windows.added)
		}
	})
}

// A server that claims to have what it was not sent does not empty the spool.
func TestStoredThroughBeyondWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv := newService(t)
		boast := func(req *http.Request) (*http.Response, error) {
			res, err := sv.RoundTrip(req)
			if err == nil && sv.all()[len(sv.all())-1].number == 1 {
				return answered(req, `{"stored_through":18446744073709551615,"report_every":300}`), nil
			}
			return res, err
		}
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, roundTrip(boast))
		stop := r.run(t)
		time.Sleep(2 * time.Hour)
		if st := r.Status(); st.StoredThrough != uint64(len(sv.all())) {
			t.Errorf("%+v", st)
		}
		stop()
		if sv.windows() != r.windows.total() {
			t.Errorf("%d of %d windows arrived", sv.windows(), r.windows.total())
		}
	})
}

func answered(req *http.Request, body string) *http.Response {
	w := httptest.NewRecorder()
	answerWith(200, body)(w, req)
	return w.Result()
}

func TestWithoutEndpointNothingIsWrittenOrSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "evergreen")
		r := newRig(t, dir, "", wire.DefaultTiming, roundTrip(func(*http.Request) (*http.Response, error) {
			t.Error("something was sent")
			return nil, errors.New("no")
		}))
		stop := r.run(t)
		time.Sleep(24 * time.Hour)
		rep := r.Next()
		if len(rep.Windows) != 1 || rep.Number != 1 || rep.Facts.EvergreenVersion != "v1.2.3" {
			t.Errorf("next: %v", rep)
		}
		if diff := cmp.Diff(Status{State: StateNoEndpoint, NextNumber: 1, ReportEvery: 5 * time.Minute}, r.Status()); diff != "" {
			t.Error(diff)
		}
		if _, _, err := r.Link(0); !errors.Is(err, errNoEndpoint) {
			t.Error(err)
		}
		if err := r.Forget(t.Context()); !errors.Is(err, errNoEndpoint) {
			t.Error(err)
		}
		if err := r.ResetIdentity(); err != nil {
			t.Error(err)
		}
		stop()
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is there: %v", err)
		}
		if r.logs.Len() > 0 {
			t.Errorf("log: %v", r.logs.All())
		}
	})
}

func TestEndpointComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "evergreen")
		sv := newService(t)
		r := newRig(t, dir, "", wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(time.Hour)
		before := r.windows.total()
		r.SetEndpoint(example)
		synctest.Wait()
		if r.count(lineNotice) != 1 {
			t.Errorf("log: %v", r.logs.All())
		}
		time.Sleep(time.Hour)
		n := sv.windows()
		if n < 9 || n > r.windows.total()-before {
			t.Errorf("%d windows arrived", n)
		}
		r.SetEndpoint("")
		time.Sleep(time.Hour)
		r.SetEndpoint("not a URL")
		stop()
		if sv.windows() != n || r.Status().State != StateNoEndpoint {
			t.Errorf("%d windows arrived without an endpoint: %+v", sv.windows()-n, r.Status())
		}
	})
}

func TestFolderThatCantBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		sv := newService(t)
		r := newRig(t, filepath.Join(file, "evergreen"), example, wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(9 * time.Minute)
		if len(sv.all()) > 0 {
			t.Errorf("sent before the notice had its time: %+v", sv.all())
		}
		time.Sleep(2 * time.Hour)
		if st := r.Status(); !st.MemoryOnly || st.State != StateWaiting || st.Instance == "" {
			t.Errorf("%+v", st)
		}
		stop()
		if sv.windows() != r.windows.total() {
			t.Errorf("%d of %d windows arrived", sv.windows(), r.windows.total())
		}
		if r.count(lineMemory) != 1 || r.count(lineNotice) != 1 || r.logs.Len() != 2 {
			t.Errorf("log: %v", r.logs.All())
		}
	})
}

func TestDiskThatFailsForAWhile(t *testing.T) {
	for _, test := range []struct {
		name   string
		fails  time.Duration
		memory bool
	}{{"less than an hour", 40 * time.Minute, false}, {"for good", 100 * time.Hour, true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sv := newService(t)
				r := newRig(t, t.TempDir(), example, wire.DefaultTiming, sv)
				from := time.Now().Add(time.Hour)
				r.folder.step = func(string, string) error {
					if now := time.Now(); now.After(from) && now.Before(from.Add(test.fails)) {
						return errors.New("no space left on device")
					}
					return nil
				}
				stop := r.run(t)
				time.Sleep(time.Hour)
				time.Sleep(30 * time.Minute)
				if len(r.Next().Windows) < 5 {
					t.Errorf("next: %v", startsOf(r.Next()))
				}
				time.Sleep(4 * time.Hour)
				if st := r.Status(); st.MemoryOnly != test.memory {
					t.Errorf("%+v", st)
				}
				stop()
				// What was spooled when the disk began to fail stays there.
				lost := r.windows.total() - sv.windows()
				if lost < 0 || lost > 1 || lost == 1 && !test.memory {
					t.Errorf("%d of %d windows arrived", sv.windows(), r.windows.total())
				}
				if r.count(lineHolds) != 1 || (r.count(lineMemory) == 1) != test.memory {
					t.Errorf("log: %v", r.logs.All())
				}
			})
		})
	}
}

func TestWindowsThatCantBeSpooledAreBounded(t *testing.T) {
	r := newRig(t, t.TempDir(), example, wire.DefaultTiming, newService(t))
	r.folder.step = func(string, string) error { return errors.New("no space left on device") }
	r.spool = r.newSpool(&r.folder, maxDiskBytes)
	for i := range int64(40) {
		r.save([]*wire.Window{noisyWindow(epoch+i*300, 200_000)})
	}
	kept := len(r.pending)
	if kept < 8 || kept > 12 {
		t.Errorf("%d windows are kept", kept)
	}
	if diff := cmp.Diff(drops{"size": {0, 40 - kept}}, r.windows.added); diff != "" {
		t.Error(diff)
	}
	if last := r.pending[kept-1].Start; last != epoch+39*300 {
		t.Errorf("the newest is gone: %d", last)
	}
}

func TestSecondProcessSpoolsAndTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		sv := newService(t)
		timing := wire.DefaultTiming
		timing.Notice = 0
		old := newRig(t, dir, example, timing, sv)
		stopOld := old.run(t)
		time.Sleep(30 * time.Minute)
		fresh := newRig(t, dir, example, timing, sv)
		fresh.shift(1)
		stopFresh := fresh.run(t)
		time.Sleep(30 * time.Minute)
		if st := fresh.Status(); st.State != StateElsewhere || st.Instance != old.Status().Instance {
			t.Errorf("%+v", st)
		}
		if len(fresh.History()) > 0 {
			t.Error("two processes sent")
		}
		stopOld()
		time.Sleep(30 * time.Minute)
		if st := fresh.Status(); st.State != StateWaiting {
			t.Errorf("%+v", st)
		}
		stopFresh()
		if want := old.windows.total() + fresh.windows.total(); sv.windows() != want {
			t.Errorf("%d of %d windows arrived", sv.windows(), want)
		}
	})
}

func TestClosingDoesNotWaitForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timing := wire.Timing{Window: 5 * time.Second, ReportEvery: 5 * time.Second}
		r := newRig(t, t.TempDir(), example, timing, roundTrip(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done() // a server that hangs
			return nil, req.Context().Err()
		}))
		stop := r.run(t)
		time.Sleep(25*time.Second + time.Millisecond)
		if st := r.Status(); st.State != StateSending || r.windows.total() < 5 || st.SpoolReports != 2 {
			t.Errorf("%d windows are closed: %+v", r.windows.total(), st)
		}
		time.Sleep(time.Minute)
		h := r.History()
		if len(h) == 0 || h[0].Status != 0 || h[0].Error == "" {
			t.Errorf("history: %+v", h)
		}
		before := time.Now()
		stop()
		if d := time.Since(before); d > finalSend {
			t.Errorf("the end took %s", d)
		}
	})
}

func TestNextIsWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv := newService(t, answerWith(500, ""))
		r := newRig(t, t.TempDir(), example, wire.DefaultTiming, sv)
		stop := r.run(t)
		time.Sleep(9 * time.Minute)
		if rep := r.Next(); rep.Number != 1 || len(rep.Windows) != r.windows.total()+1 {
			t.Errorf("next: %v", rep)
		}
		for len(sv.all()) == 0 {
			time.Sleep(time.Second)
		}
		if rep := r.Next(); rep.Number != 1 || len(rep.Windows) != sv.all()[0].windows {
			t.Errorf("next is sealed, but: %v", rep)
		}
		stop()
	})
}
