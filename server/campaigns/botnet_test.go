package campaigns_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/server/aggregate"
	"github.com/caddy-evergreen/evergreen/server/campaigns"
	"github.com/caddy-evergreen/evergreen/server/collect"
	"github.com/caddy-evergreen/evergreen/server/geo"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// now is when all tests take place: a quarter past an hour.
var now = time.Date(2026, 11, 21, 12, 15, 0, 0, time.UTC)

func clock() time.Time { return now }

const instances = 200

// Autonomous systems: those of the botnet, one that is in incidents everywhere
// all the time, and many others.
const (
	botnet0 = 64496 // and the two that follow
	cloud   = 64510
	others  = 65000
)

// ranges is geographic data: 10.N.0.0/16 is of AS others+N, and so on.
func ranges() string {
	var b strings.Builder
	for n := range 256 {
		fmt.Fprintf(&b, "10.%d.0.0,10.%d.255.255,%d,Network %d\n", n, n, others+n, n)
	}
	for n := range 3 {
		fmt.Fprintf(&b, "11.%d.0.0,11.%d.255.255,%d,Botnet\n", n, n, botnet0+n)
	}
	fmt.Fprintf(&b, "12.0.0.0,12.255.255.255,%d,Cloud\n", cloud)
	fmt.Fprintf(&b, "2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,%d,Botnet\n", botnet0)
	return b.String()
}

func key(n int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint32(seed, uint32(n+1))
	return ed25519.NewKeyFromSeed(seed)
}

func idOf(n int) wire.InstanceID { return wire.IDOf(key(n).Public().(ed25519.PublicKey)) }

// A world is the whole of the collecting side, in a folder.
type world struct {
	t          *testing.T
	dir        string
	log        *ingestlog.Log
	store      *duckdb.Store
	server     *httptest.Server
	correlator *campaigns.Correlator
	aggregator aggregate.Config
	numbers    map[int]uint64 // of the last report, by instance
	sent       []func()       // sends each report again
	messages   bytes.Buffer   // what was logged
}

func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, numbers: map[int]uint64{}}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	logger := slog.New(slog.NewTextHandler(&w.messages, &slog.HandlerOptions{Level: slog.LevelDebug}))
	where := t.TempDir()
	check(os.WriteFile(filepath.Join(where, "networks.csv"), []byte(ranges()), 0o600))
	networks, err := geo.Open(where, nil)
	check(err)
	w.log, err = ingestlog.Open(filepath.Join(dir, "log"), ingestlog.Options{Logger: logger})
	check(err)
	w.store, err = duckdb.Open(filepath.Join(dir, "evergreen.duckdb"), duckdb.Options{Memory: 256 << 20, Threads: 1})
	check(err)
	c, err := collect.New(collect.Config{
		Log: w.log, Geo: networks, Now: clock, Logger: logger, Limits: collect.Limits{Sender: 1e6, SenderBurst: 1e6},
	})
	check(err)
	w.server = httptest.NewServer(c)
	w.aggregator = aggregate.Config{LogName: "local", Log: w.log, Store: w.store, FlushEvery: time.Millisecond, Logger: logger}
	w.correlator = campaigns.New(campaigns.Config{Source: w.store, Now: clock})
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	if w.server == nil {
		return
	}
	w.server.Close()
	w.server = nil
	if err := w.log.Close(); err != nil {
		w.t.Error(err)
	}
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// send posts windows as an instance's next report.
func (w *world) send(instance int, windows ...*wire.Window) {
	w.t.Helper()
	w.numbers[instance]++
	body, err := proto.Marshal(&wire.Report{
		Dictionary: wire.DictionaryVersion, Number: w.numbers[instance], Created: now.Unix(), Facts: &wire.Facts{Os: "linux"}, Windows: windows,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	post := func() {
		w.t.Helper()
		r, err := http.NewRequest("POST", w.server.URL+wire.PathReports, bytes.NewReader(body))
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("Content-Type", wire.TypeProtobuf)
		r.Header.Set(wire.HeaderKey, hex.EncodeToString(key(instance).Public().(ed25519.PublicKey)))
		r.Header.Set(wire.HeaderSignature, hex.EncodeToString(wire.Sign(key(instance), wire.PurposeReport, body)))
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			w.t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			w.t.Fatal(res.Status)
		}
	}
	post()
	w.sent = append(w.sent, post)
}

// settle aggregates all that was taken in, and answers which campaigns there are.
func (w *world) settle() []store.Campaign {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	a := aggregate.New(w.aggregator)
	go func() { done <- a.Run(ctx) }()
	for {
		p, err := w.store.Position(w.t.Context(), "local")
		if err != nil {
			w.t.Fatal(err)
		}
		if p == store.Position(w.log.Durable()) {
			break
		}
		select {
		case err := <-done:
			w.t.Fatalf("aggregating ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
	if err := w.correlator.Forget(w.t.Context()); err != nil { // what it answered before
		w.t.Fatal(err)
	}
	found, err := w.correlator.Campaigns(w.t.Context(), now.Add(-30*24*time.Hour), now)
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// forget deletes an instance as the service does.
func (w *world) forget(instance int) {
	w.t.Helper()
	if err := w.log.Erase(w.t.Context(), idOf(instance)); err != nil {
		w.t.Fatal(err)
	}
	if err := aggregate.New(w.aggregator).Forget(w.t.Context(), idOf(instance)); err != nil {
		w.t.Fatal(err)
	}
}

func network(percent uint32, address string) *wire.SourceNetwork {
	return &wire.SourceNetwork{Prefix: wire.NetworkPrefix(netip.MustParseAddr(address)), Share: percent}
}

func window(start time.Time, in ...*wire.Incident) *wire.Window {
	return &wire.Window{Start: start.Truncate(5 * time.Minute).Unix(), Seconds: 300, Incidents: in}
}

// background is what an instance sees on its own in the 40 hours before: now
// and then an incident from the cloud and from a network like any other.
func background(instance int) []*wire.Window {
	r := rand.New(rand.NewPCG(uint64(instance), 1))
	var all []*wire.Window
	for n := range 20 {
		at := now.Truncate(time.Hour).Add(-time.Duration(r.IntN(40*60)) * time.Minute).Truncate(5 * time.Minute)
		kind := []string{"scan", "request_flood"}[r.IntN(2)]
		all = append(all, window(at, &wire.Incident{
			Number: uint64(n + 1), Start: at.Unix(), Seconds: 240, Kind: uint32(wire.IncidentKind.Value(kind)), Events: 100,
			Networks: []*wire.SourceNetwork{
				network(40, fmt.Sprintf("12.%d.%d.1", r.IntN(256), r.IntN(256))),
				network(30, fmt.Sprintf("10.%d.%d.1", r.IntN(256), r.IntN(256))),
			},
		}))
	}
	return all
}

// attack is what the botnet does to an instance in the hour that starts so
// many hours before the last whole one: 20 minutes, in two reports' windows.
func attack(instance int, number uint64, hour time.Time) (first, second *wire.Window) {
	at := hour.Add(time.Duration(instance%6) * 5 * time.Minute)
	state := func(minutes uint32, open bool) *wire.Incident {
		return &wire.Incident{
			Number: number, Start: at.Unix(), Seconds: 60 * minutes, Open: open, Events: uint64(minutes) * 100,
			Kind: uint32(wire.IncidentKind.Value("request_flood")), Sources: 5,
			Networks: []*wire.SourceNetwork{
				network(30, fmt.Sprintf("11.0.%d.7", instance)), network(30, fmt.Sprintf("11.1.%d.7", instance)),
				network(20, fmt.Sprintf("11.2.%d.7", instance)), network(10, fmt.Sprintf("2001:db8:%x::7", 0x5a00+instance)),
			},
		}
	}
	return window(at, state(5, true)), window(at.Add(15*time.Minute), state(20, false))
}

// growth is how many instances the botnet attacks, by hour.
var growth = []int{40, 120, instances}

func (w *world) attack() (begin time.Time) {
	begin = now.Truncate(time.Hour).Add(-time.Duration(len(growth)) * time.Hour)
	for h, n := range growth {
		for i := range n {
			first, second := attack(i, uint64(100+h), begin.Add(time.Duration(h)*time.Hour))
			w.send(i, first)
			w.send(i, second)
		}
	}
	return begin
}

// want is the campaign of so many instances.
func want(id string, begin time.Time, growth ...int) store.Campaign {
	c := store.Campaign{
		ID: id, Kind: wire.IncidentKind.Value("request_flood"), Networks: []uint32{botnet0, botnet0 + 1, botnet0 + 2},
		Begin: begin.Unix(), End: begin.Add(time.Duration(len(growth)) * time.Hour).Unix(), Ongoing: true,
	}
	for h, n := range growth {
		s := store.Sighting{
			Trait: store.Trait{Kind: c.Kind}, Hour: begin.Add(time.Duration(h) * time.Hour).Unix(),
			Instances: uint64(n), Events: uint64(n) * 1800, Top: 1800, // of 2000, 90 percent come from the three networks
		}
		c.Hours = append(c.Hours, s)
		c.Instances = max(c.Instances, s.Instances)
		c.Events += s.Events
	}
	return c
}

// TestBotnet: incidents of 200 instances that share their networks are one
// campaign, whatever is sent twice, and what is left of it after a crash, and
// after deletion, is right.
func TestBotnet(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for i := range instances {
		w.send(i, background(i)...)
	}
	if found := w.settle(); len(found) != 0 {
		t.Fatalf("before the attack there are campaigns: %+v", found)
	}
	begin := w.attack()
	found := w.settle()
	if len(found) != 1 {
		t.Fatalf("%d campaigns instead of one: %+v", len(found), found)
	}
	campaign := want(found[0].ID, begin, growth...)
	equal := func(when string, want, got []store.Campaign) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", when, d)
		}
	}
	equal("after the attack", []store.Campaign{campaign}, found)

	for _, again := range w.sent {
		again()
	}
	equal("after all was sent again", []store.Campaign{campaign}, w.settle())

	// A crash leaves the files as they are.
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	crashed := newWorld(t, copied)
	equal("after a crash", []store.Campaign{campaign}, crashed.settle())
	noPrefix(t, crashed)

	w.forget(instances - 1)
	equal("without an instance", []store.Campaign{want(campaign.ID, begin, 40, 120, instances-1)}, w.settle())
	for i := range instances - 1 {
		w.forget(i)
	}
	equal("without all", nil, w.settle())
	if strings.Contains(w.messages.String(), "11.0.") || strings.Contains(w.messages.String(), "2001:db8") {
		t.Error("an address was logged")
	}
}

// TestIndependent: what instances see on their own is no campaign.
func TestIndependent(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for i := range instances {
		w.send(i, background(i)...)
	}
	if found := w.settle(); len(found) != 0 {
		t.Errorf("campaigns were found: %+v", found)
	}
}

// noPrefix looks for source networks' prefixes in all files, and in all
// reports as they are stored, decompressed.
func noPrefix(t *testing.T, w *world) {
	t.Helper()
	var prefixes [][]byte
	for i := range instances {
		v6 := wire.NetworkPrefix(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", 0x5a00+i)))
		// With the field's tag and length, since three bytes are found by chance.
		prefixes = append(prefixes, v6, []byte{0x0a, 3, 11, 0, byte(i)}, []byte{0x0a, 3, 11, 1, byte(i)},
			fmt.Appendf(nil, "11.0.%d.", i), fmt.Appendf(nil, "2001:db8:%x:", 0x5a00+i))
	}
	look := func(what string, b []byte) {
		t.Helper()
		for _, p := range prefixes {
			if bytes.Contains(b, p) {
				t.Fatalf("%s holds the prefix %q", what, p)
			}
		}
	}
	files, reports := 0, 0
	err := fs.WalkDir(os.DirFS(w.dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(w.dir, path))
		files++
		look(path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for at := (ingestlog.Position(0)); ; {
		entries, next, err := w.log.Read(t.Context(), at, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			r, err := e.Record.Report()
			if err != nil {
				t.Fatal(err)
			}
			b, err := proto.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			look("a report", b)
			reports++
		}
		if next == at {
			break
		}
		at = next
	}
	if files < 2 || reports < instances {
		t.Errorf("only %d files and %d reports were looked at", files, reports)
	}
}
