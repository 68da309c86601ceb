// Package nearest finds the known name that a mistyped one was probably meant
// to be, for error messages.
package nearest

import (
	"strconv"
	"strings"
)

// Name is the known name with the smallest edit distance to name, or "" where
// none is near: more than a third of the letters would have to change.
func Name(name string, known []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// Hint is `: did you mean "x"?` for the nearest known name; where none is near
// it lists all, if they are few, or is empty.
func Hint(name string, known []string) string {
	if n := Name(name, known); n != "" {
		return ": did you mean " + strconv.Quote(n) + "?"
	}
	if len(known) > 0 && len(known) <= 12 {
		return ": known are " + strings.Join(known, ", ")
	}
	return ""
}

// distance is the Levenshtein distance in bytes. Names longer than 100 bytes
// are near nothing, which bounds the work on hostile input.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 1 << 30
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
