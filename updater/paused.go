package updater

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	pausedFile = "paused"
	maxPaused  = 4 << 10 // bytes of it
)

// ReadPaused tells who paused the updates of a folder; nil if nobody did. A file
// that says nothing readable pauses as well: `touch paused` is enough.
func ReadPaused(dir string) (*Paused, error) {
	f, err := os.Open(filepath.Join(dir, pausedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("whether updates are paused: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPaused))
	if err != nil {
		return nil, fmt.Errorf("whether updates are paused: %w", err)
	}
	var p Paused
	d := json.NewDecoder(bytes.NewReader(b))
	if d.Decode(&p) != nil {
		p = Paused{Who: "whoever made the file " + pausedFile}
		if st, err := f.Stat(); err == nil {
			p.Time = st.ModTime()
		}
	}
	return &p, nil
}

// Pause keeps updates of a folder from being installed until Resume, over
// restarts. Updates are still told of, and what is watched is watched on. A
// process that runs notices it within seconds.
func Pause(dir, who string, now time.Time) error {
	b, err := json.Marshal(Paused{Who: who, Time: now.UTC().Truncate(time.Second)})
	if err != nil {
		return fmt.Errorf("pausing updates: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("pausing updates: %w", err)
	}
	if err := replace(osDisk{}, filepath.Join(dir, pausedFile), append(b, '\n')); err != nil {
		return fmt.Errorf("pausing updates: %w", err)
	}
	return nil
}

// Resume ends Pause. That nothing is paused is no error.
func Resume(dir string) error {
	if err := os.Remove(filepath.Join(dir, pausedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("resuming updates: %w", err)
	}
	return nil
}

// Pause is the function Pause for this Updater, at once.
func (u *Updater) Pause(who string) error {
	err := Pause(u.c.Dir, who, u.now())
	u.wake()
	return err
}

// Resume is the function Resume for this Updater, at once.
func (u *Updater) Resume() error {
	err := Resume(u.c.Dir)
	u.wake()
	return err
}
