package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/caddy-evergreen/evergreen/server/artifact"
)

// ErrNoSpec says that an executable was not made by a build service.
var ErrNoSpec = errors.New("the executable holds no spec: it was not made by a build service of Evergreen")

const (
	maxSpec       = 64 << 10
	maxExecutable = 1 << 30
)

// ReadSpec finds the spec in an executable's file, without running it.
func ReadSpec(file string) (artifact.Spec, error) {
	f, err := os.Open(file)
	if err != nil {
		return artifact.Spec{}, err
	}
	defer f.Close()
	return FindSpec(f)
}

// FindSpec finds the spec in an executable's bytes. Of several that differ
// none is taken.
func FindSpec(r io.Reader) (artifact.Spec, error) {
	mark := []byte(specMark())
	var found *artifact.Spec
	// What is read is looked through in pieces that overlap by as much as a
	// spec can be long.
	r = io.LimitReader(r, maxExecutable)
	buf := make([]byte, 0, 4<<20+maxSpec)
	for last := false; !last; {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			last = true
		} else if err != nil {
			return artifact.Spec{}, fmt.Errorf("reading the executable: %w", err)
		}
		end := len(buf)
		if !last {
			end -= maxSpec
		}
		for at := 0; ; {
			i := bytes.Index(buf[at:], mark)
			if i < 0 || at+i >= end {
				break
			}
			at += i + len(mark)
			s, ok := decodeSpec(buf[at-1 : min(len(buf), at+maxSpec-len(mark))])
			if !ok {
				continue
			}
			if found != nil && found.ID() != s.ID() {
				return artifact.Spec{}, errors.New("the executable holds several specs that differ")
			}
			found = &s
		}
		buf = append(buf[:0], buf[max(end, 0):]...)
	}
	if found == nil {
		return artifact.Spec{}, ErrNoSpec
	}
	return *found, nil
}

// decodeSpec takes a spec that b begins with, exactly as mainGo writes it.
func decodeSpec(b []byte) (artifact.Spec, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var s artifact.Spec
	if err := d.Decode(&s); err != nil || Check(s) != nil {
		return artifact.Spec{}, false
	}
	canonical, err := json.Marshal(s.Canonical())
	if err != nil || !bytes.HasPrefix(b, canonical) {
		return artifact.Spec{}, false
	}
	return s, true
}
