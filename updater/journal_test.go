package updater

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func fixed() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func someJournal() journal {
	return journal{
		Version: journalVersion, State: Watching, Since: fixed(), Boot: "1", LastCheck: fixed(),
		Attempt: &attempt{
			Candidate: Candidate{Slot: idOf("v2.11.9"), Version: "v2.11.9", Before: "v2.11.3", Since: fixed()},
			Try:       2, Began: fixed(), Seconds: map[State]float64{Rehearsing: 3},
		},
		Notice:     &Notice{From: "v2.11.3", To: "v2.11.9", Installs: true},
		Quarantine: []Quarantined{{Slot: idOf("v2.11.8"), Version: "v2.11.8", Cause: CauseHarm, Why: "it did harm", Time: fixed()}},
		Retries:    []retry{{Slot: idOf("v2.11.9"), Count: 1, Fails: 2, Next: fixed()}},
	}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestJournalRoundTrip(t *testing.T) {
	want := someJournal()
	got, err := parseJournal(marshal(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(journal{}, attempt{}, back{}, retry{}, wish{})); d != "" {
		t.Error(d)
	}
}

// An older Caddy reads what a newer one wrote.
func TestJournalOfNewer(t *testing.T) {
	b := strings.Replace(string(marshal(t, someJournal())), `"version":1,`, `"version":7,"moon":{"phase":3},`, 1)
	j, err := parseJournal([]byte(b))
	if err != nil || j.State != Watching {
		t.Errorf("%v %v", j.State, err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add(marshal(f, someJournal()))
	f.Add([]byte(`{"version":1,"state":"idle"}`))
	f.Add([]byte(`{"version":1,"state":"switching"}`))
	f.Add([]byte(`{"version":1,"state":"watching","attempt":{"slot":"` + strings.Repeat("a", 64) + `","from":"` + strings.Repeat("a", 64) + `"}}`))
	f.Add([]byte(`{"version":1,"state":"failed","attempt":{"slot":"../../../etc/passwd"}}`))
	f.Add([]byte(`{"version":1,"state":"idle","quarantine":[` + strings.Repeat(`{},`, 99) + `{}]}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := parseJournal(b)
		if err != nil {
			return
		}
		if a := j.Attempt; a != nil && (!slotID.MatchString(a.Slot) || a.Slot == a.From) {
			t.Errorf("candidate %q from %q", a.Slot, a.From)
		}
		if len(j.Quarantine) > maxQuarantine || len(j.Retries) > maxRetries {
			t.Errorf("%d in quarantine, %d retries", len(j.Quarantine), len(j.Retries))
		}
		again, err := parseJournal(marshal(t, j))
		if err != nil {
			t.Fatalf("what was read is not read again: %v", err)
		}
		if again.State != j.State {
			t.Errorf("%s became %s", j.State, again.State)
		}
		j.status()
	})
}

// A powerless disk keeps what was synced; of the rest, nobody knows. After each
// operation of replace the power is cut: the file has its old or its new content.
func TestReplacePowerCut(t *testing.T) {
	for _, keep := range []bool{false, true} { // what was not synced is on the disk
		for cut := 1; ; cut++ {
			d := &memoryDisk{left: cut, files: map[string]*memory{}, durable: map[string]*memory{}}
			old := &memory{synced: []byte("old"), b: []byte("old")}
			d.files["/d/f"], d.durable["/d/f"] = old, old
			err := replace(d, "/d/f", []byte("new"))
			after := d.after(keep)
			got, there := after["/d/f"]
			switch {
			case !there || got != "old" && got != "new":
				t.Errorf("cut at %d, keep %v: %q %v", cut, keep, got, there)
			case err == nil && got != "new":
				t.Errorf("cut at %d, keep %v: it was to be durable, and is %q", cut, keep, got)
			}
			if err == nil {
				if cut < 6 {
					t.Errorf("only %d operations: are they all there?", cut)
				}
				break
			}
		}
	}
}

var errPower = errors.New("the power is cut")

type memory struct {
	b, synced []byte
	d         *memoryDisk
}

type memoryDisk struct {
	left           int
	files, durable map[string]*memory // names: as seen, and as synced
}

func (d *memoryDisk) op() error {
	if d.left--; d.left <= 0 {
		return errPower
	}
	return nil
}

func (d *memoryDisk) create(name string) (file, error) {
	if err := d.op(); err != nil {
		return nil, err
	}
	m := &memory{d: d}
	d.files[name] = m
	return m, nil
}

func (m *memory) Write(b []byte) (int, error) {
	if err := m.d.op(); err != nil {
		m.b = append(m.b, b[:len(b)/2]...)
		return len(b) / 2, err
	}
	m.b = append(m.b, b...)
	return len(b), nil
}

func (m *memory) Sync() error {
	if err := m.d.op(); err != nil {
		return err
	}
	m.synced = append([]byte(nil), m.b...)
	return nil
}

func (m *memory) Close() error { return m.d.op() }

func (d *memoryDisk) rename(from, to string) error {
	if err := d.op(); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *memoryDisk) remove(name string) error {
	if err := d.op(); err != nil {
		return err
	}
	delete(d.files, name)
	return nil
}

func (d *memoryDisk) syncDir(string) error {
	if err := d.op(); err != nil {
		return err
	}
	d.durable = map[string]*memory{}
	for n, m := range d.files {
		d.durable[n] = m
	}
	return nil
}

// after is what is read when the power is back: names as synced, or as seen;
// contents as synced.
func (d *memoryDisk) after(keep bool) map[string]string {
	names := d.durable
	if keep {
		names = d.files
	}
	found := map[string]string{}
	for n, m := range names {
		found[n] = string(m.synced)
	}
	return found
}

func TestPaused(t *testing.T) {
	dir := t.TempDir()
	if p, err := ReadPaused(dir); p != nil || err != nil {
		t.Fatal(p, err)
	}
	if err := Pause(dir, "admin", fixed()); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPaused(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Paused{Who: "admin", Time: fixed()}, got); d != "" {
		t.Error(d)
	}
	for _, content := range []string{"", "because", `{"who":3}`, strings.Repeat("x", 2*maxPaused)} {
		if err := os.WriteFile(filepath.Join(dir, pausedFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := ReadPaused(dir); p == nil || err != nil {
			t.Errorf("%.20q: %v %v", content, p, err)
		}
	}
	for range 2 {
		if err := Resume(dir); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := ReadPaused(dir); p != nil || err != nil {
		t.Error(p, err)
	}
}

// The list of attempts has the last fifty, and one that is not understood does
// not keep new ones out.
func TestAttempts(t *testing.T) {
	u := &Updater{c: Config{Dir: t.TempDir()}, disk: osDisk{}}
	for i := range 60 {
		for range 2 { // the second time it is there
			if err := u.list(Outcome{State: Failed, Slot: fmt.Sprint(i), Ended: fixed()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := Attempts(u.c.Dir)
	if err != nil || len(all) != maxAttempts || all[0].Slot != "10" || all[maxAttempts-1].Slot != "59" {
		t.Errorf("%d attempts: %v", len(all), err)
	}
	if err := os.WriteFile(filepath.Join(u.c.Dir, attemptsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := u.list(Outcome{State: Healthy, Slot: "a", Ended: fixed()}); err != nil {
		t.Fatal(err)
	}
	if all, err = Attempts(u.c.Dir); err != nil || len(all) != 1 {
		t.Errorf("%v %v", all, err)
	}
}
