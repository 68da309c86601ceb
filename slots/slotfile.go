package slots

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
)

// Limits of what is read.
const (
	maxSlot     = 1 << 20  // bytes of slot.json
	maxMetadata = 16 << 20 // bytes of all files that prove a slot
	maxFiles    = 2000     // of them: root metadata may have been changed often
	maxTries    = 1000
	maxText     = 4 << 10 // bytes of Why
)

// unknown are the fields of slot.json that a newer version wrote.
type unknown map[string]json.RawMessage

// parse reads slot.json. It is ours, and yet might be anyone's who can write to
// the folder: nothing is done by it that the signed metadata does not confirm.
func parse(b []byte) (Slot, unknown, error) {
	var s Slot
	var rest unknown
	if err := json.Unmarshal(b, &s); err != nil {
		return Slot{}, nil, err
	}
	if err := json.Unmarshal(b, &rest); err != nil {
		return Slot{}, nil, err
	}
	return s, rest, s.check()
}

func (s *Slot) check() error {
	switch {
	case !isID(s.ID):
		return fmt.Errorf("id is %.80q: it should be a SHA-256 in hexadecimal", s.ID)
	case s.From != "" && !isID(s.From):
		return fmt.Errorf("from is %.80q: it should be a SHA-256 in hexadecimal, or nothing", s.From)
	case s.State != Candidate && s.State != Good && s.State != Bad:
		return fmt.Errorf("state is %.40q: it should be candidate, good or bad", s.State)
	case s.Target == "" || len(s.Target) > 1000 || len(s.Caddy) > 200:
		return fmt.Errorf("target %.40q and caddy %.40q should be a file's name and a version", s.Target, s.Caddy)
	case s.Most < 0 || s.Most > maxTries || s.Tries < 0 || s.Tries > s.Most:
		return fmt.Errorf("tries are %d of %d: they should be between 0 and %d", s.Tries, s.Most, maxTries)
	case len(s.Why) > maxText:
		return fmt.Errorf("why has %d bytes, more than %d", len(s.Why), maxText)
	}
	return nil
}

func (d *Dir) read(id string) (Slot, unknown, error) {
	if !isID(id) {
		return Slot{}, nil, fmt.Errorf("%w: %.80q is no id of one", ErrNoSlot, id)
	}
	b, err := d.files.ReadFile(filepath.Join(d.slot(id), "slot.json"), maxSlot)
	if errors.Is(err, fs.ErrNotExist) {
		return Slot{}, nil, fmt.Errorf("%w: %s", ErrNoSlot, id)
	}
	if err != nil {
		return Slot{}, nil, fmt.Errorf("reading slot %.12s: %w", id, err)
	}
	s, rest, err := parse(b)
	if err == nil && s.ID != id {
		err = fmt.Errorf("it says that it is slot %.12s", s.ID)
	}
	if err != nil {
		return Slot{}, nil, fmt.Errorf("%w: %.12s: %w", ErrBroken, id, err)
	}
	return s, rest, nil
}

// known tells whether a field of slot.json is one of Slot's.
func known(name string) bool {
	t := reflect.TypeFor[Slot]()
	for i := range t.NumField() {
		if own, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); own == name {
			return true
		}
	}
	return false
}

// isFileName tells whether a name can be that of a file of metadata.
func isFileName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_':
		case i > 0 && (c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 200
}

// isRootName tells whether a name is that of a version of the root metadata.
func isRootName(s string) bool {
	version, ok := strings.CutSuffix(s, ".root.json")
	return ok && version != "" && len(version) < 10 && strings.Trim(version, "0123456789") == ""
}

// format is slot.json, with the fields that are not ours as they were.
func format(s Slot, rest unknown) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	fields := unknown{}
	var ours unknown
	if err := json.Unmarshal(b, &ours); err != nil {
		return nil, err
	}
	for k, v := range rest {
		if !known(k) {
			fields[k] = v
		}
	}
	for k, v := range ours {
		fields[k] = v
	}
	b, err = json.MarshalIndent(fields, "", "\t")
	if err == nil && len(b) > maxSlot {
		err = fmt.Errorf("it has %d bytes, more than %d", len(b), maxSlot)
	}
	return append(b, '\n'), err
}

// Metadata reads what proves a slot: file names without folders, and contents.
func (d *Dir) Metadata(id string) (map[string][]byte, error) {
	if !isID(id) {
		return nil, fmt.Errorf("%w: %.80q is no id of one", ErrNoSlot, id)
	}
	dir := filepath.Join(d.slot(id), "metadata")
	names, err := d.files.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of slot %.12s: %w", id, err)
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("%w: %.12s has %d files of metadata, more than %d", ErrBroken, id, len(names), maxFiles)
	}
	all := map[string][]byte{}
	left := maxMetadata
	for _, n := range names {
		b, err := d.files.ReadFile(filepath.Join(dir, n), int64(left))
		if err != nil {
			return nil, fmt.Errorf("reading the metadata of slot %.12s: %w", id, err)
		}
		left -= len(b)
		all[n] = b
	}
	return all, nil
}
