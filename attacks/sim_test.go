package attacks

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A sim plays traffic to a Watcher in simulated time.
type sim struct {
	t   *testing.T
	w   *Watcher
	now time.Time
	rng *rand.Rand
	ins map[uint64]*wire.Incident // the latest of each number
}

// monday is the start of a week.
var monday = time.Date(2026, 11, 16, 0, 0, 0, 0, time.UTC)

func newSim(t *testing.T, at time.Time) *sim {
	return &sim{
		t: t, now: at, rng: rand.New(rand.NewPCG(1, 2)), ins: map[uint64]*wire.Incident{},
		w: New(Options{Now: at, Networks: func() bool { return true }}),
	}
}

// minutes plays each for n minutes; each is called within a minute.
func (s *sim) minutes(n int, each ...func()) {
	for range n {
		for _, f := range each {
			f()
		}
		s.now = s.now.Add(time.Minute)
		s.w.Tick(s.now)
		for _, in := range s.w.Report(s.now) {
			s.ins[in.Number] = in
			w := &wire.Window{Start: s.now.Unix() - 300 - s.now.Unix()%300 + 300, Seconds: 300, Incidents: []*wire.Incident{in}}
			if dropped, err := (&wire.Report{Number: 1, Created: s.now.Unix(), Windows: []*wire.Window{w}}).Clean(); dropped != 0 || err != nil {
				s.t.Fatalf("an incident is not as it should be: %d, %v: %v", dropped, err, in)
			}
		}
	}
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(20 + n>>22&63), byte(n >> 14), byte(n >> 6), byte(n<<2 | 1)})
}

// poisson is a number whose mean is m.
func (s *sim) poisson(m float64) int {
	return max(0, int(math.Round(m+s.rng.NormFloat64()*math.Sqrt(m))))
}

// browse is what people do: about n requests a minute, by visitors whose number
// grows with it, with a dozen fingerprints of uneven popularity, a few errors,
// abandoned handshakes and typing errors at the login.
func (s *sim) browse(n float64) func() {
	return func() {
		visitors := max(1, n/20)
		for range s.poisson(n) {
			e := s.visitor(visitors)
			e.Status = 200
			switch p := s.rng.Float64(); {
			case p < 0.03:
				e.Status = 404
			case p < 0.033:
				e.Status = 500
			case p < 0.034:
				e.Status, e.Post, e.Path = 401, true, Path{Login: true}
			case p < 0.0345:
				e.Status, e.Path = 404, Classify("/wp-login.php", "")
			case p < 0.05:
				e.Status = 304
			}
			s.w.Request(&e)
		}
		for range s.poisson(n / 30) {
			e := s.visitor(visitors)
			s.w.Connection(&e, Silent)
		}
		for range s.poisson(n / 200) {
			e := s.visitor(visitors)
			s.w.Connection(&e, Abandoned)
		}
	}
}

func (s *sim) visitor(visitors float64) Event {
	who := s.rng.Uint64N(uint64(math.Ceil(visitors)))
	rng := rand.New(rand.NewPCG(who, uint64(s.now.Hour())))
	kind := uint64(rng.ExpFloat64() * 3) // of browser: the first has 28 %
	return Event{Source: SourceOf(addr4(rng.Uint32())), Hello: kind + 1, Agent: kind + 100, Began: s.now}
}

// bot is an event of a botnet of n members that share one ClientHello.
func (s *sim) bot(n int) Event {
	return Event{Source: SourceOf(addr4(uint32(1<<26 - 64*(1+s.rng.IntN(n))))), Hello: 0xb07, Agent: 0xb07, Began: s.now}
}

// found lists the incidents as kind, start's and end's minute.
type found struct {
	Kind     string
	From, To int // minutes since the sim's attack began
}

func (s *sim) check(since time.Time, want ...found) {
	s.t.Helper()
	var got []found
	for _, in := range s.ins {
		got = append(got, found{
			wire.IncidentKind.ValueName(wire.Value(in.Kind)),
			int(math.Round(float64(in.Start-since.Unix()) / 60)),
			int(math.Round(float64(in.Start+int64(in.Seconds)-since.Unix()) / 60)),
		})
		if in.Open {
			s.t.Errorf("%v is still open", in)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("incidents (-want +got):\n%s\n%v", diff, s.ins)
	}
}

func (s *sim) only() *wire.Incident {
	for _, in := range s.ins {
		return in
	}
	return &wire.Incident{}
}

// Every attack, of ten minutes within ordinary traffic, becomes one incident.
func TestAttacks(t *testing.T) {
	times := func(n int, f func()) func() {
		return func() {
			for range n {
				f()
			}
		}
	}
	request := func(s *sim, bots int, change func(*Event)) func() {
		return func() {
			e := s.bot(bots)
			e.Status = 200
			change(&e)
			s.w.Request(&e)
		}
	}
	connection := func(s *sim, bots int, how Ending, hello bool) func() {
		return func() {
			e := s.bot(bots)
			if !hello {
				e.Hello, e.Agent = 0, 0
			}
			s.w.Connection(&e, how)
		}
	}
	scanned := []string{"/.env", "/wp-login.php", "/wp-admin/setup-config.php", "/.git/config", "/phpmyadmin/index.php", "/backup.sql", "/unheard/of", "/old/index.html"}
	for name, c := range map[string]struct {
		kind string
		// attack is a minute of it.
		attack func(s *sim) func()
		scan   string
		share  uint32 // least
	}{
		"one source's flood": {"request_flood", func(s *sim) func() { return times(12_000, request(s, 1, func(e *Event) {})) }, "other", 80},
		"a botnet's flood":   {"request_flood", func(s *sim) func() { return times(20_000, request(s, 5_000, func(e *Event) {})) }, "other", 80},
		"a flood that brings the server down": {"request_flood", func(s *sim) func() {
			return times(20_000, request(s, 50, func(e *Event) { e.Status = 502 }))
		}, "other", 80},
		"a flood of what isn't there": {"request_flood", func(s *sim) func() {
			return times(20_000, request(s, 50, func(e *Event) { e.Status = 404 }))
		}, "other", 80},
		"handshakes":  {"handshake_flood", func(s *sim) func() { return times(3_000, connection(s, 100, Abandoned, true)) }, "other", 80},
		"connections": {"connection_flood", func(s *sim) func() { return times(3_000, connection(s, 100, Silent, false)) }, "other", 0},
		"slowloris":   {"slow_requests", func(s *sim) func() { return times(200, connection(s, 3, Stalled, false)) }, "other", 0},
		"slow bodies": {"slow_requests", func(s *sim) func() { return times(100, request(s, 3, func(e *Event) { e.Slow = true })) }, "other", 80},
		"scan of many": {"scan", func(s *sim) func() {
			return times(600, request(s, 1, func(e *Event) { e.Status, e.Path = 404, Classify(scanned[s.rng.IntN(len(scanned))], "") }))
		}, "other", 80},
		"scan for one": {"scan", func(s *sim) func() {
			return times(300, request(s, 1, func(e *Event) { e.Status, e.Path = 404, Classify("/blog/wp-login.php", "") }))
		}, "wordpress", 80},
		"passwords": {"credential_stuffing", func(s *sim) func() {
			return times(400, request(s, 200, func(e *Event) { e.Status, e.Post, e.Path = 401, true, Classify("/api/login", "") }))
		}, "other", 80},
		"garbage": {"protocol_violation", func(s *sim) func() {
			return times(300, connection(s, 3, Malformed, false))
		}, "other", 0},
		"bad requests": {"protocol_violation", func(s *sim) func() {
			return times(300, request(s, 3, func(e *Event) { e.Status = 400 }))
		}, "other", 80},
		"rapid reset": {"rapid_reset", func(s *sim) func() {
			return times(3_000, request(s, 2, func(e *Event) { e.Resets, e.Aborted = 1, true }))
		}, "other", 80},
		"guessing of paths": {"not_found_burst", func(s *sim) func() {
			return times(1_100, request(s, 1, func(e *Event) { e.Status = 404 }))
		}, "other", 80},
		"one client's errors": {"error_burst", func(s *sim) func() {
			return times(300, request(s, 1, func(e *Event) { e.Status = 500 }))
		}, "other", 80},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, monday.Add(10*time.Hour))
			s.minutes(45, s.browse(600))
			since := s.now
			s.minutes(10, s.browse(600), c.attack(s))
			if n := s.w.Open(); n != 1 {
				t.Errorf("%d incidents are open", n)
			}
			s.minutes(30, s.browse(600))
			s.check(since, found{c.kind, 0, 10})
			in := s.only()
			if got := wire.ScanClass.ValueName(wire.Value(in.Scan)); got != c.scan {
				t.Errorf("scan class %s, want %s", got, c.scan)
			}
			if in.TopShare < c.share {
				t.Errorf("the top fingerprint has %d %%, want at least %d", in.TopShare, c.share)
			}
		})
	}
}

// The name of the top fingerprint is not lost among those of others, which come
// before, with and after it.
func TestKnownFingerprint(t *testing.T) {
	for n := range uint64(8) {
		s := newSim(t, monday)
		browse := func() {
			for i := range uint64(500) {
				e := s.visitor(50)
				e.Hello, e.Known, e.Status = 100+i%20, wire.Value(1+i%20), 200
				s.w.Request(&e)
			}
		}
		s.minutes(30, browse)
		s.minutes(5, browse, func() {
			for range 4_000 {
				e := s.bot(3)
				e.Hello, e.Known, e.Status = 200+n, wire.Value(30+n), 200
				s.w.Request(&e)
			}
		}, browse)
		s.minutes(10, browse)
		if len(s.ins) != 1 || s.only().Fingerprint != uint32(30+n) || s.only().TopShare != 80 {
			t.Errorf("with fingerprint %d: %v", 30+n, s.ins)
		}
	}
}

// A fresh process has no experience; what nobody does by accident is seen all the same.
func TestFresh(t *testing.T) {
	s := newSim(t, monday)
	s.minutes(30, s.browse(20_000))
	s.check(monday)

	s = newSim(t, monday)
	s.minutes(3, s.browse(100), func() {
		for range 500 {
			e := s.bot(1)
			e.Status, e.Path = 404, Classify("/.env", "")
			s.w.Request(&e)
		}
	})
	s.minutes(10, s.browse(100))
	s.check(monday, found{"scan", 0, 3})
}

func TestFlashCrowd(t *testing.T) {
	s := newSim(t, monday.Add(20*time.Hour))
	s.minutes(60, s.browse(300))
	for _, n := range []float64{3_000, 9_000, 20_000, 20_000, 15_000, 12_000, 9_000, 5_000, 2_000} {
		s.minutes(3, s.browse(n))
	}
	s.minutes(20, s.browse(300))
	s.check(monday)
}

// A site at fault is no attack: many visitors get its errors.
func TestOutage(t *testing.T) {
	s := newSim(t, monday.Add(20*time.Hour))
	s.minutes(60, s.browse(1_000))
	for _, status := range []int{404, 503} {
		s.minutes(10, func() {
			for range s.poisson(1_000) {
				e := s.visitor(50)
				e.Status = status
				s.w.Request(&e)
			}
		})
		s.minutes(30, s.browse(1_000))
	}
	s.check(monday)
}

// A week of normal traffic: ten times as much by day as by night, less on
// weekends, with noise, and a cron job that asks a lot for a minute each hour.
func TestWeek(t *testing.T) {
	s := newSim(t, monday)
	for day := range 7 {
		for m := range 24 * 60 {
			level := 110 - 90*math.Cos(2*math.Pi*float64(m)/(24*60))
			if day >= 5 {
				level /= 2
			}
			level *= math.Exp(0.3 * s.rng.NormFloat64())
			s.minutes(1, s.browse(level), func() {
				if m%60 == 0 {
					for range 2_000 {
						e := Event{Source: SourceOf(addr4(7)), Hello: 99, Agent: 99, Status: 200, Began: s.now}
						s.w.Request(&e)
					}
				}
			})
		}
	}
	s.check(monday)
}

// A reverse proxy is one source with one hello for everything; its day's cycle
// is none the less no attack.
func TestBehindProxy(t *testing.T) {
	s := newSim(t, monday)
	for h := range 48 {
		level := 2_000 - 1_500*math.Cos(2*math.Pi*float64(h)/24)
		s.minutes(60, func() {
			for range s.poisson(level) {
				e := Event{Source: SourceOf(addr4(7)), Hello: 5, Agent: uint64(1 + s.rng.IntN(20)), Status: 200, Began: s.now}
				s.w.Request(&e)
			}
		})
	}
	s.check(monday)
}

// An attack in pulses is one incident, and what stays for hours becomes ordinary.
func TestPulsesAndLevels(t *testing.T) {
	s := newSim(t, monday)
	flood := func() {
		for range 8_000 {
			e := s.bot(3)
			e.Status = 200
			s.w.Request(&e)
		}
	}
	s.minutes(30, s.browse(100))
	since := s.now
	for range 4 {
		s.minutes(2, s.browse(100), flood)
		s.minutes(3, s.browse(100))
	}
	s.minutes(10, s.browse(100))
	s.check(since, found{"request_flood", 0, 17})

	s = newSim(t, monday)
	s.minutes(30, s.browse(100))
	since = s.now
	s.minutes(800, flood)
	s.check(since, found{"request_flood", 0, 360})
}

// Two attacks of different kinds by different clients are two incidents.
func TestTwoAtOnce(t *testing.T) {
	s := newSim(t, monday)
	s.minutes(30, s.browse(300))
	since := s.now
	s.minutes(5, s.browse(300), func() {
		for range 200 {
			e := s.bot(1)
			e.Status, e.Path = 404, Classify("/.git/config", "")
			s.w.Request(&e)
			e = Event{Source: SourceOf(addr4(1 << 20)), Hello: 77, Status: 401, Post: true, Path: Path{Login: true}}
			s.w.Request(&e)
		}
	})
	s.minutes(20, s.browse(300))
	kinds := map[string]int{}
	for _, in := range s.ins {
		kinds[wire.IncidentKind.ValueName(wire.Value(in.Kind))]++
		if in.Start != since.Unix() || in.Seconds != 300 {
			t.Errorf("from %d for %d s: %v", in.Start-since.Unix(), in.Seconds, in)
		}
	}
	if diff := cmp.Diff(map[string]int{"scan": 1, "credential_stuffing": 1}, kinds); diff != "" {
		t.Error(diff)
	}
}
