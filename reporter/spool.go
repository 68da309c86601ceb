package reporter

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Limits of the spool.
const (
	maxDiskBytes   = 64 << 20
	maxMemoryBytes = 2 << 20
	maxAge         = 7 * 24 * time.Hour
	// maxSpan is the time that one report may cover. A server refuses windows
	// older than eight days: with this, no report that maxAge keeps has any.
	maxSpan = 8 * time.Hour
)

// A spool keeps reports until they are stored. Its methods may be called at
// once; each one reads the folder anew, since others may use it.
type spool struct {
	dir      folder
	maxBytes int64
	now      func() time.Time
	log      *zap.Logger
	// dropped is told of what was dropped and why: a value of wire.DropReason.
	dropped func(reason wire.Value, reports, windows int)

	mu sync.Mutex // one operation at a time

	statsMu sync.Mutex
	last    stats
}

// stats are the spool as of its last operation.
type stats struct {
	instance      wire.InstanceID
	next          uint64 // number of the next report to be sent
	storedThrough uint64
	reports       int
	bytes         int64
}

func (s *spool) stats() stats {
	s.statsMu.Lock()
	defer s.statsMu.Unlock()
	return s.last
}

// An entry is a report's file.
type entry struct {
	number uint64
	sealed bool
	size   int64
}

const (
	openSuffix   = ".open"
	sealedSuffix = ".report"
)

func (e entry) name() string {
	suffix := openSuffix
	if e.sealed {
		suffix = sealedSuffix
	}
	return fmt.Sprintf("%020d%s", e.number, suffix)
}

func parseEntry(f file) (entry, bool) {
	digits, sealed := strings.CutSuffix(f.name, sealedSuffix)
	if !sealed {
		var open bool
		if digits, open = strings.CutSuffix(f.name, openSuffix); !open {
			return entry{}, false
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	e := entry{number: n, sealed: sealed, size: f.size}
	return e, err == nil && n > 0 && n < math.MaxUint64 && !f.dir && e.name() == f.name
}

// A view is the folder as an operation finds and leaves it.
type view struct {
	s       *spool
	key     ed25519.PrivateKey
	id      wire.InstanceID
	ledger  ledger
	entries []entry // by number
}

// begin locks the folder, reads it and completes what a crash interrupted.
func (s *spool) begin() (*view, func(), error) {
	s.mu.Lock()
	unlock, err := s.dir.lock()
	if err != nil {
		s.mu.Unlock()
		return nil, nil, err
	}
	release := func() {
		unlock()
		s.mu.Unlock()
	}
	begun := false
	defer func() {
		if !begun {
			release()
		}
	}()
	v, err := s.load()
	if err != nil {
		return nil, nil, err
	}
	begun = true
	return v, func() {
		v.note()
		release()
	}, nil
}

func (s *spool) load() (*view, error) {
	key, l, err := s.identity()
	if err != nil {
		return nil, err
	}
	v := &view{s: s, key: key, id: idOf(key), ledger: l}
	if err := s.dropFormer(v.id); err != nil {
		return nil, err
	}
	files, err := s.dir.list(v.path(""))
	if err != nil {
		return nil, fmt.Errorf("listing the spool: %w", err)
	}
	for _, f := range files {
		if e, ok := parseEntry(f); ok {
			v.entries = append(v.entries, e)
		} else if strings.HasSuffix(f.name, tmpSuffix) {
			_ = s.dir.remove(v.path(f.name)) // what a crash left of a write
		}
	}
	slices.SortFunc(v.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(b.name(), a.name()))
	})
	// One number, two files: not by us. The sealed one, now first, may have been sent.
	for i := 1; i < len(v.entries); i++ {
		if v.entries[i].number == v.entries[i-1].number {
			if err := v.drop(i, wire.DropReason.Value("unreadable")); err != nil {
				return nil, err
			}
		}
	}
	return v, v.removeStored()
}

func (v *view) path(name string) string {
	return strings.TrimSuffix(spoolDir+"/"+v.id.String()+"/"+name, "/")
}

func (v *view) note() {
	st := stats{instance: v.id, next: v.next(), storedThrough: v.ledger.StoredThrough}
	if len(v.entries) > 0 {
		st.next = v.entries[0].number
	}
	for _, e := range v.entries {
		st.reports++
		st.bytes += e.size
	}
	v.s.statsMu.Lock()
	v.s.last = st
	v.s.statsMu.Unlock()
}

// next is the number of the next new report.
func (v *view) next() uint64 {
	n := v.ledger.Last
	if k := len(v.entries); k > 0 {
		n = max(n, v.entries[k-1].number)
	}
	return n + 1
}

// open is the index of the report that takes in windows, or -1.
func (v *view) open() int {
	k := len(v.entries) - 1
	if k >= 0 && !v.entries[k].sealed {
		return k
	}
	return -1
}

// removeStored removes what the ledger covers.
func (v *view) removeStored() error {
	for len(v.entries) > 0 && v.entries[0].sealed && v.entries[0].number <= v.ledger.StoredThrough {
		if err := v.remove(0); err != nil {
			return err
		}
	}
	return nil
}

func (v *view) remove(i int) error {
	if err := v.s.dir.remove(v.path(v.entries[i].name())); err != nil {
		return fmt.Errorf("removing a report from the spool: %w", err)
	}
	v.entries = slices.Delete(v.entries, i, i+1)
	return nil
}

// report reads the report of entry i. It answers errUnreadable if the file is
// not what was written.
func (v *view) report(i int) (*wire.Report, []byte, error) {
	body, err := v.s.dir.read(v.path(v.entries[i].name()))
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody removed it who does not know the lock.
		return nil, nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading a report from the spool: %w", err)
	}
	rep, err := decode(body)
	if err == nil && rep.Number != v.entries[i].number {
		err = fmt.Errorf("%w: report %d has the number %d in it", errUnreadable, v.entries[i].number, rep.Number)
	}
	return rep, body, err
}

// drop removes the report of entry i and counts it.
func (v *view) drop(i int, reason wire.Value) error {
	windows := 0
	if rep, _, err := v.report(i); err == nil {
		windows = len(rep.Windows)
	}
	if err := v.remove(i); err != nil {
		return err
	}
	v.s.dropped(reason, 1, windows)
	return nil
}

// seal ends entry i's taking in of windows.
func (v *view) seal(i int) error {
	e := &v.entries[i]
	if v.ledger.Last < e.number {
		l := v.ledger
		l.Last = e.number
		if err := v.s.writeLedger(v.id, l); err != nil {
			return err
		}
		v.ledger = l
	}
	sealed := *e
	sealed.sealed = true
	if err := v.s.dir.rename(v.path(e.name()), v.path(sealed.name())); err != nil {
		return fmt.Errorf("sealing a report: %w", err)
	}
	*e = sealed
	return nil
}

// append puts windows into the spool and answers how many of them, from the
// first, are in it or dropped; after an error, the rest is still the caller's.
func (s *spool) append(windows []*wire.Window, facts *wire.Facts) (done int, err error) {
	v, unlock, err := s.begin()
	if err != nil {
		return 0, err
	}
	defer unlock()
	for done < len(windows) {
		n, err := v.append(windows[done:], facts)
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, v.prune()
}

// append does one step: it adds windows to the open report, or makes room for
// them and answers 0.
func (v *view) append(windows []*wire.Window, facts *wire.Facts) (int, error) {
	rep := &wire.Report{Number: v.next()}
	i := v.open()
	if i >= 0 {
		var err error
		if rep, _, err = v.report(i); errors.Is(err, errUnreadable) {
			return 0, v.drop(i, wire.DropReason.Value("unreadable"))
		} else if err != nil {
			return 0, err
		}
	}
	rep.Dictionary = wire.DictionaryVersion
	rep.Created = v.s.now().Unix()
	rep.Facts = facts
	had := len(rep.Windows)
	n := fitting(rep.Windows, windows)
	var body []byte
	for ; n > 0; n /= 2 {
		rep.Windows = append(rep.Windows[:had:had], windows[:n]...)
		var err error
		if body, err = encode(rep); err == nil {
			break
		} else if !errors.Is(err, errTooLarge) {
			return 0, err
		}
	}
	if n == 0 && had > 0 {
		return 0, v.seal(i)
	}
	if n == 0 {
		v.s.dropped(wire.DropReason.Value("size"), 0, 1)
		return 1, nil
	}
	if i < 0 {
		v.entries = append(v.entries, entry{number: rep.Number})
		i = len(v.entries) - 1
	}
	if err := v.s.dir.write(v.path(v.entries[i].name()), body); err != nil {
		if had == 0 {
			v.entries = v.entries[:i]
		}
		return 0, fmt.Errorf("writing a report to the spool: %w", err)
	}
	v.entries[i].size = int64(len(body))
	return n, nil
}

// fitting is how many of more fit into a report that has some windows, by
// their number and by the time they cover.
func fitting(have, more []*wire.Window) int {
	from, to := int64(math.MaxInt64), int64(math.MinInt64)
	for _, w := range have {
		from, to = min(from, w.Start), max(to, w.Start)
	}
	for n, w := range more {
		from, to = min(from, w.Start), max(to, w.Start)
		if len(have)+n == wire.MaxWindows || (len(have)+n > 0 && to-from >= int64(maxSpan/time.Second)) {
			return n
		}
	}
	return len(more)
}

// prune keeps the spool within its size, at the cost of the oldest reports.
func (v *view) prune() error {
	var bytes int64
	for _, e := range v.entries {
		bytes += e.size
	}
	for len(v.entries) > 1 && bytes > v.s.maxBytes {
		size := v.entries[0].size
		if err := v.drop(0, wire.DropReason.Value("size")); err != nil {
			return err
		}
		bytes -= size
	}
	// What is too old goes here also when nothing can be sent.
	for len(v.entries) > 0 && v.entries[0].sealed {
		rep, _, err := v.report(0)
		switch {
		case err == nil && v.s.expired(rep):
			err = v.drop(0, wire.DropReason.Value("age"))
		case errors.Is(err, errUnreadable):
			err = v.drop(0, wire.DropReason.Value("unreadable"))
		case err == nil:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *spool) expired(rep *wire.Report) bool {
	var end int64
	for _, w := range rep.Windows {
		end = max(end, w.Start+int64(w.Seconds))
	}
	return s.now().Sub(time.Unix(end, 0)) > maxAge
}

// An outgoing is a sealed report, ready to be signed and sent.
type outgoing struct {
	instance wire.InstanceID
	key      ed25519.PrivateKey
	body     []byte
	report   *wire.Report
}

// head is the report to be sent next, which it seals first if need be; nil if
// there is none.
func (s *spool) head() (*outgoing, error) {
	v, unlock, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for len(v.entries) > 0 {
		rep, body, err := v.report(0)
		switch {
		case errors.Is(err, errUnreadable):
			err = v.drop(0, wire.DropReason.Value("unreadable"))
		case err == nil && s.expired(rep):
			err = v.drop(0, wire.DropReason.Value("age"))
		case err == nil:
			if !v.entries[0].sealed {
				err = v.seal(0)
			}
			if err == nil {
				return &outgoing{v.id, v.key, body, rep}, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// peek is the report that head would answer as it is now, without sealing it,
// and whether it can still take in windows.
func (s *spool) peek() (rep *wire.Report, open bool, err error) {
	v, unlock, err := s.begin()
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	for i, e := range v.entries {
		rep, _, err := v.report(i)
		if errors.Is(err, errUnreadable) {
			continue
		}
		return rep, !e.sealed, err
	}
	return &wire.Report{Number: v.next()}, true, nil
}

// stored removes what the server has, and answers whether more is waiting.
func (s *spool) stored(instance wire.InstanceID, through uint64) (more bool, err error) {
	v, unlock, err := s.begin()
	if err != nil {
		return false, err
	}
	defer unlock()
	if v.id != instance {
		return len(v.entries) > 0, nil
	}
	if l := v.ledger; l.StoredThrough < through {
		l.StoredThrough = through
		if err := s.writeLedger(v.id, l); err != nil {
			return true, err
		}
		v.ledger = l
	}
	err = v.removeStored()
	return len(v.entries) > 0, err
}

// reject drops a report that the server will never take.
func (s *spool) reject(instance wire.InstanceID, number uint64) (more bool, err error) {
	v, unlock, err := s.begin()
	if err != nil {
		return false, err
	}
	defer unlock()
	if v.id == instance {
		for i, e := range v.entries {
			if e.number == number && e.sealed {
				if err := v.drop(i, wire.DropReason.Value("rejected")); err != nil {
					return true, err
				}
				break
			}
		}
	}
	return len(v.entries) > 0, nil
}

// reset begins a new identity and drops what the old one had not sent.
func (s *spool) reset() error {
	v, unlock, err := s.begin()
	if err != nil {
		return err
	}
	defer unlock()
	key, l, err := s.newIdentity()
	if err != nil {
		return err
	}
	v.key, v.id, v.ledger, v.entries = key, idOf(key), l, nil
	return s.dropFormer(v.id)
}

// signer is the key of the instance.
func (s *spool) signer() (ed25519.PrivateKey, error) {
	v, unlock, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return v.key, nil
}

// dropFormer removes the spools of all identities but one.
func (s *spool) dropFormer(id wire.InstanceID) error {
	dirs, err := s.dir.list(spoolDir)
	if err != nil {
		return fmt.Errorf("listing the spool: %w", err)
	}
	for _, d := range dirs {
		if !d.dir || d.name == id.String() {
			continue
		}
		former := &view{s: s}
		reports, windows := 0, 0
		if former.id, err = wire.ParseInstanceID(d.name); err == nil {
			files, err := s.dir.list(former.path(""))
			if err != nil {
				return fmt.Errorf("listing the spool of a former identity: %w", err)
			}
			for _, f := range files {
				if e, ok := parseEntry(f); ok {
					former.entries = append(former.entries, e)
					if rep, _, err := former.report(reports); err == nil {
						windows += len(rep.Windows)
					}
					reports++
				}
			}
		}
		if err := s.dir.removeAll(spoolDir + "/" + d.name); err != nil {
			return fmt.Errorf("removing the spool of a former identity: %w", err)
		}
		if reports > 0 {
			s.dropped(wire.Other, reports, windows)
		}
	}
	return nil
}
