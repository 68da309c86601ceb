package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	version = 1
	// maxFile is more than the largest baseline has: all slots with all series.
	maxFile = 2 << 20
)

// read reads a baseline; nil without an error if there is none.
func read(path string) (*data, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the baseline of the watch: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the baseline of the watch: %w", err)
	}
	d, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("the baseline of the watch, %s: %w; a new one is begun", path, err)
	}
	return d, nil
}

// parse reads strictly: a baseline that could not have been written is none.
func parse(b []byte) (*data, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	d := &data{}
	if err := dec.Decode(d); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its end")
	}
	if d.Version != version {
		return nil, fmt.Errorf("it is of version %d, and this executable knows version %d", d.Version, version)
	}
	ok := d.Recent.valid(int(nSeries)) && d.Handshakes[0].valid(1) && d.Handshakes[1].valid(1)
	for _, h := range d.Hours {
		ok = ok && (h == nil || h.valid(int(nSeries)))
	}
	for i, s := range d.Sites {
		ok = ok && i >= 0 && i < Sites && s.Lately.valid(int(nSeries)) && s.Recent.valid(int(nSeries))
	}
	for _, m := range d.Memory {
		ok = ok && m < 1<<60
	}
	if !ok {
		return nil, errors.New("it has numbers that can't be counts")
	}
	return d, nil
}

// Save writes the baseline: the file is the old one or the new one, whatever
// happens.
func (b *Baseline) Save() error {
	b.mu.Lock()
	text, err := json.Marshal(&b.data)
	b.mu.Unlock()
	if err == nil {
		err = replace(b.path, text)
	}
	if err != nil {
		return fmt.Errorf("keeping the baseline of the watch: %w", err)
	}
	return nil
}

func replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".baseline-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	// The rename is durable where folders can be synced; where not, an older
	// baseline is as good.
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}
