//go:build e2e

package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/attacks"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Autonomous systems: the botnet is in the first three, the cloud is where
// attacks come from everywhere all the time.
const (
	botnetAS = 64496
	cloudAS  = 64510
	otherAS  = 65000
)

func networksFile() []byte {
	var b bytes.Buffer
	for n := range 256 {
		fmt.Fprintf(&b, "10.%d.0.0,10.%d.255.255,%d,Network %d\n", n, n, otherAS+n, n)
	}
	for n := range 3 {
		fmt.Fprintf(&b, "11.%d.0.0,11.%d.255.255,%d,Botnet\n", n, n, botnetAS+n)
	}
	fmt.Fprintf(&b, "12.0.0.0,12.255.255.255,%d,Cloud\n", cloudAS)
	return b.Bytes()
}

// A reporting is an instance: its key, the watcher of its traffic, and what it
// has to report.
type reporting struct {
	n       int
	key     ed25519.PrivateKey
	watch   *attacks.Watcher
	now     time.Time
	rng     *rand.Rand
	sent    uint64 // number of the last report
	windows []*wire.Window
}

func newReporting(n int, now time.Time) *reporting {
	seed := sha256.Sum256(fmt.Appendf(nil, "instance %d", n))
	return &reporting{
		n: n, key: ed25519.NewKeyFromSeed(seed[:]), now: now, rng: rand.New(rand.NewPCG(uint64(n), 7)),
		watch: attacks.New(attacks.Options{Now: now, Networks: func() bool { return true }}),
	}
}

// past is what the instance saw in the two days before: now and then an incident
// from the cloud and from some network like any other.
func (i *reporting) past(until time.Time) {
	for number := range uint64(20) {
		at := until.Add(-time.Duration(60+i.rng.IntN(40*60)) * time.Minute).Truncate(5 * time.Minute)
		kind := []string{"scan", "request_flood"}[i.rng.IntN(2)]
		network := func(share uint32, first int) *wire.SourceNetwork {
			address := netip.AddrFrom4([4]byte{byte(first), byte(i.rng.IntN(256)), byte(i.rng.IntN(256)), 1})
			return &wire.SourceNetwork{Prefix: wire.NetworkPrefix(address), Share: share}
		}
		i.windows = append(i.windows, &wire.Window{Start: at.Unix(), Seconds: 300, Incidents: []*wire.Incident{{
			Number: number + 1, Start: at.Unix(), Seconds: 240, Kind: uint32(wire.IncidentKind.Value(kind)), Events: 2000,
			Networks: []*wire.SourceNetwork{network(40, 12), network(30, 10)},
		}}})
	}
}

// minute is one of ordinary visitors, and of as many requests of the botnet.
func (i *reporting) minute(flood int, known wire.Value) {
	for range 60 {
		i.watch.Request(&attacks.Event{
			Source: attacks.SourceOf(netip.AddrFrom4([4]byte{10, byte(i.rng.IntN(256)), byte(i.rng.IntN(256)), 1})),
			Hello:  1 + uint64(i.rng.IntN(9)), Agent: 1 + uint64(i.rng.IntN(20)), Status: 200, Began: i.now,
		})
	}
	for range flood {
		i.watch.Request(&attacks.Event{
			Source: attacks.SourceOf(netip.AddrFrom4([4]byte{11, byte(i.rng.IntN(3)), byte(i.n), byte(i.rng.IntN(256))})),
			Hello:  0xb07, Known: known, Agent: 0xb07, Status: 200, Began: i.now,
		})
	}
	i.now = i.now.Add(time.Minute)
	i.watch.Tick(i.now)
	if i.now.Unix()%300 == 0 {
		i.windows = append(i.windows, &wire.Window{Start: i.now.Unix() - 300, Seconds: 300, Incidents: i.watch.Report(i.now)})
	}
}

// send posts what there is to report, signed, a dozen windows at a time.
func (i *reporting) send(url string) error {
	for len(i.windows) > 0 {
		n := min(12, len(i.windows))
		i.sent++
		body, err := proto.Marshal(&wire.Report{
			Dictionary: wire.DictionaryVersion, Number: i.sent, Created: time.Now().Unix(),
			Facts: &wire.Facts{CaddyVersion: "v2.11.9", Os: "linux"}, Windows: i.windows[:n],
		})
		if err != nil {
			return err
		}
		r, err := http.NewRequest(http.MethodPost, url+wire.PathReports, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", wire.TypeProtobuf)
		r.Header.Set(wire.HeaderKey, hex.EncodeToString(i.key.Public().(ed25519.PublicKey)))
		r.Header.Set(wire.HeaderSignature, hex.EncodeToString(wire.Sign(i.key, wire.PurposeReport, body)))
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("report %d of instance %d is answered with %s", i.sent, i.n, res.Status)
		}
		i.windows = i.windows[n:]
	}
	return nil
}

// TestE2ECampaign lets a botnet of three networks with one ClientHello attack
// more and more of 200 instances, hour after hour. Each finds its incidents by
// itself and reports them, signed, to the real service. That answers one
// campaign, and none for the attacks that every instance sees all the time.
func TestE2ECampaign(t *testing.T) {
	srv := startServer(t, "EVERGREEN_WINDOW=5m")
	srv.stop(t)
	geo := filepath.Join(srv.Dir, "data", "geo")
	if err := os.MkdirAll(geo, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(geo, "networks.csv"), networksFile(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}

	growth := []int{40, 120, 200} // instances under attack, by hour
	begin := time.Now().UTC().Truncate(time.Hour).Add(-time.Duration(len(growth)) * time.Hour)
	known := wire.JA4.Value("t13d3112h2_e8f1e7e78f70_b26ce05bbdd6") // curl's
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for n := w; n < growth[len(growth)-1]; n += 4 {
				i := newReporting(n, begin.Add(-30*time.Minute))
				i.past(begin)
				for range 30 {
					i.minute(0, 0)
				}
				for _, attacked := range growth {
					for m := range 60 {
						flood := 0
						if at := 5 * (n % 6); n < attacked && at <= m && m < at+10 {
							flood = 2000
						}
						i.minute(flood, known)
					}
				}
				if err := i.send(srv.URL()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()

	type hour struct {
		Time       time.Time `json:"time"`
		Instances  uint64    `json:"instances"`
		Events     uint64    `json:"events"`
		Suppressed bool      `json:"suppressed"`
	}
	type campaign struct {
		Kind         string    `json:"kind"`
		Fingerprints []string  `json:"fingerprints"`
		Networks     []string  `json:"networks"`
		Begin        time.Time `json:"begin"`
		End          time.Time `json:"end"`
		Instances    uint64    `json:"instances"`
		Events       uint64    `json:"events"`
		Hours        []hour    `json:"hours"`
	}
	want := campaign{
		Kind: "request_flood", Fingerprints: []string{wire.JA4.ValueName(known)},
		Networks: []string{fmt.Sprint("AS", botnetAS), fmt.Sprint("AS", botnetAS+1), fmt.Sprint("AS", botnetAS+2)},
		Begin:    begin, End: begin.Add(time.Duration(len(growth)) * time.Hour), Instances: 200,
	}
	for h, n := range growth {
		events := uint64(n) * 10 * (2000 + 60) // a step's visitors are part of it
		want.Hours = append(want.Hours, hour{Time: begin.Add(time.Duration(h) * time.Hour), Instances: uint64(n), Events: events})
		want.Events += events
	}
	// An answer is given again for a minute, and reports take their time.
	eventually(t, 150*time.Second, func() error {
		b, err := srv.Get(t.Context(), "/api/v1/campaigns?range=7d")
		if err != nil {
			return err
		}
		var list struct {
			Campaigns []campaign `json:"campaigns"`
		}
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		if diff := cmp.Diff([]campaign{want}, list.Campaigns); diff != "" {
			return fmt.Errorf("campaigns (-want +got):\n%s", diff)
		}
		return nil
	})
	if log := srv.LogTail(1 << 20); strings.Contains(log, "11.0.") || strings.Contains(log, "11.1.") {
		t.Error("the service has logged a source network")
	}
}
