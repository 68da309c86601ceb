package rehearse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// lost are the modules of the running server that the candidate lacks, sorted.
func lost(running, candidate []string) []string {
	var l []string
	for _, m := range running {
		if !slices.Contains(candidate, m) {
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

func (c *Config) run(ctx context.Context) (Report, error) {
	if _, err := os.Stat(c.Executable); err != nil {
		return Report{}, fmt.Errorf("looking at the candidate: %w", err)
	}
	return Report{}, errors.New("rehearsing is not possible yet")
}
