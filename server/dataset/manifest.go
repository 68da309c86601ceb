package dataset

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"time"
)

// Layout is the version of the files' layout and of the manifest; Method that of
// how small groups are hidden.
const (
	Layout = 1
	Method = 1
)

// Names of the files that tell of the others.
const (
	ManifestName  = "manifest.json"
	SignatureName = "manifest.json.minisig"
	KeyName       = "key.pub"
)

// A Manifest tells what a data set has.
type Manifest struct {
	Layout      int       `json:"layout"`
	Method      int       `json:"method"`
	Name        string    `json:"name"`
	Service     string    `json:"service,omitempty"` // where it is published
	Licence     string    `json:"licence"`           // SPDX identifier
	Attribution string    `json:"attribution,omitempty"`
	Simulated   bool      `json:"simulated,omitempty"` // it is not of real servers
	Generated   time.Time `json:"generated"`
	Rule        Rule      `json:"rule"`
	// Facets and metrics are described by the dictionary of the service.
	Files []File `json:"files"`
	Days  []Loss `json:"days"`
	// Withheld is what the data set never has, in words.
	Withheld []string `json:"withheld"`
	// Reprocessed are files that were made again after they had been published;
	// Reprocessing is what is under way: until it is gone, some files are old ones.
	Reprocessed  []Reprocessing `json:"reprocessed,omitempty"`
	Reprocessing *Reprocessing  `json:"reprocessing,omitempty"`
}

// A File is one of a data set.
type File struct {
	Path   string    `json:"path"`
	Format string    `json:"format"` // "parquet", "csv.zst"
	Metric string    `json:"metric"`
	Grain  string    `json:"grain"` // "hour", "day"
	From   time.Time `json:"from"`  // the first period's start
	To     time.Time `json:"to"`    // the last period's end
	Rows   int       `json:"rows"`
	Size   int64     `json:"size"` // bytes
	SHA256 string    `json:"sha256"`
	Final  bool      `json:"final"` // it will not grow any more
}

// A Loss is what a day's publication lost, as shares from 0 to 1 with two
// digits, over all counters and histograms.
type Loss struct {
	Day    string  `json:"day"`    // "2026-11-21"
	Hours  float64 `json:"hours"`  // of events, in hours: only known as part of a rest, or not at all
	Days   float64 `json:"days"`   // the same, in days
	Values float64 `json:"values"` // of events, in the day's facets
	Late   float64 `json:"late"`   // reported after the hour was published, and left out
}

// A Reprocessing is that files were made again.
type Reprocessing struct {
	At   time.Time `json:"at"`
	From string    `json:"from"` // the first day
	To   string    `json:"to"`   // the last day
	Why  string    `json:"why"`
}

var withheld = []string{
	"minima, maxima and sums of bytes",
	"two facets at once, such as a version in a country",
	"networks, and anything of a single instance",
	"of distinct things, more than two digits of an estimate",
	"groups and sums that fail the rule, or would let one that does be computed: these are in the rests, or nowhere",
	"what was reported after its hour had been published",
}

// Limits of what a manifest may ask of who mirrors it.
const (
	maxManifest = 64 << 20
	maxFiles    = 1 << 20
	maxFile     = 4 << 30
)

var filePath = regexp.MustCompile(`^v1/(hour|day)/[a-z0-9_.]{1,80}/[0-9-]{7,10}\.(parquet|csv\.zst)$`)

// ParseManifest reads a manifest strictly: names of files stay below its folder.
func ParseManifest(b []byte) (*Manifest, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("the manifest has %d bytes: at most %d are taken", len(b), maxManifest)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	var m Manifest
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("the manifest is not understood: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the manifest's end")
	}
	if m.Layout != Layout {
		return nil, fmt.Errorf("the data set has layout %d: this program knows %d; a newer one is needed", m.Layout, Layout)
	}
	if len(m.Files) > maxFiles {
		return nil, fmt.Errorf("the manifest has %d files: at most %d are taken", len(m.Files), maxFiles)
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		sum, err := hex.DecodeString(f.SHA256)
		switch {
		case !filePath.MatchString(f.Path) || path.Clean(f.Path) != f.Path || strings.Contains(f.Path, ".."):
			return nil, fmt.Errorf("%.200q is no name of a data set's file", f.Path)
		case seen[f.Path]:
			return nil, fmt.Errorf("%s is twice in the manifest", f.Path)
		case err != nil || len(sum) != 32:
			return nil, fmt.Errorf("%s: sha256 is %.70q: it should be 64 hexadecimal digits", f.Path, f.SHA256)
		case f.Size < 0 || f.Size > maxFile:
			return nil, fmt.Errorf("%s: it has %d bytes: at most %d are taken", f.Path, f.Size, int64(maxFile))
		}
		seen[f.Path] = true
	}
	return &m, nil
}
