package rehearse

import (
	"context"
	"slices"
	"strings"
)

// tellVersion checks that the candidate runs here, and is what it was announced
// to be.
func (c *Config) tellVersion(ctx context.Context) error {
	out, err := c.tell(ctx, nil, "version")
	if err != nil {
		return err
	}
	// "v2.11.9 h1:…", or more before a "(" where it is replaced.
	told, _, _ := strings.Cut(strings.TrimSpace(out), " ")
	if c.Version != "" && told != c.Version {
		return failed(Tell, out, "the candidate should be %s, and isn't", c.Version)
	}
	return nil
}

// tellModules checks that the candidate has all modules of the running server.
// A newer version may have more.
func (c *Config) tellModules(ctx context.Context) error {
	out, err := c.tell(ctx, nil, "list-modules")
	if err != nil {
		return err
	}
	if l := lost(c.Modules, parseModules(out)); len(l) > 0 {
		more := ""
		if len(l) > maxListed {
			more, l = ", …", l[:maxListed]
		}
		return failed(Modules, "", "the candidate lacks modules that run now: %s%s", strings.Join(l, ", "), more)
	}
	return nil
}

// lost are the modules of the running server that the candidate lacks, sorted.
func lost(running, candidate []string) []string {
	has := make(map[string]bool, len(candidate))
	for _, m := range candidate {
		has[m] = true
	}
	var l []string
	for _, m := range running {
		if !has[m] {
			l = append(l, m)
		}
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// parseModules reads what `caddy list-modules` prints: an id on each line, and
// totals that are indented.
func parseModules(out string) []string {
	var ids []string
	for line := range strings.Lines(out) {
		if line[0] == ' ' {
			continue
		}
		if f := strings.Fields(line); len(f) > 0 {
			ids = append(ids, f[0])
		}
	}
	return ids
}
