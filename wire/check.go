package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// MaxPins is how many modules a Check may pin.
const MaxPins = 256

var (
	platformWord = regexp.MustCompile(`^[a-z0-9]{1,20}$`)
	kernelWord   = regexp.MustCompile(`^[0-9A-Za-z.+_~-]{0,64}$`)
)

// ParseCheck reads a Check and refuses what is none, with what is wrong. What
// may be left out gets its default.
func ParseCheck(b []byte) (Check, error) {
	var c Check
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("the check is not understood: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, errors.New("there is something after the check's end")
	}
	if c.Channel == "" {
		c.Channel = ChannelStable
	}
	return c, c.Validate()
}

// Validate refuses a Check that no instance makes.
func (c *Check) Validate() error {
	if err := c.Build.Check(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if err := c.System.Validate(); err != nil {
		return err
	}
	if _, err := ParseScope(string(c.Scope)); err != nil {
		return err
	}
	if c.Channel != ChannelStable && c.Channel != ChannelBeta {
		return fmt.Errorf("channel is %.40q: it is stable or beta", c.Channel)
	}
	if len(c.Pins) > MaxPins {
		return fmt.Errorf("there are %d pins: at most %d are taken", len(c.Pins), MaxPins)
	}
	for path, version := range c.Pins {
		if path == "" || len(path) > MaxFactString || len(version) > MaxFactString {
			return fmt.Errorf("pin %.70q: path and version must have at most %d bytes", path, MaxFactString)
		}
	}
	if b, err := hex.DecodeString(c.SHA256); err != nil || len(b) != 0 && len(b) != 32 {
		return fmt.Errorf("sha256 is %.70q: it should be 64 hexadecimal digits", c.SHA256)
	}
	return nil
}

// Validate refuses what no executable of Go's runs on.
func (s System) Validate() error {
	switch {
	case !platformWord.MatchString(s.OS):
		return fmt.Errorf(`system: os is %.40q: it should be Go's name, such as "linux"`, s.OS)
	case !platformWord.MatchString(s.Arch):
		return fmt.Errorf(`system: arch is %.40q: it should be Go's name, such as "amd64"`, s.Arch)
	case s.Variant != "" && !platformWord.MatchString(s.Variant):
		return fmt.Errorf(`system: variant is %.40q: it should be "v6" or "v7" of arm`, s.Variant)
	case !kernelWord.MatchString(s.Kernel):
		return fmt.Errorf(`system: kernel is %.70q: it should be a release such as "6.1.0"`, s.Kernel)
	}
	return nil
}
