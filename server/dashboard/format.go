package dashboard

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// whole writes n with thousands apart (by thin spaces, which all languages read).
func whole(n uint64) string {
	s := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteString("\u202f")
		}
		b.WriteRune(c)
	}
	return b.String()
}

// short writes n with three digits, as a headline does: 12.3 M.
func short(n uint64) (number, unit string) {
	if n < 10_000 {
		return whole(n), ""
	}
	f, i := float64(n), 0
	for f >= 999.5 && i < len(prefixes)-1 {
		f, i = f/1000, i+1
	}
	return digits(f), prefixes[i]
}

var prefixes = []string{"", "k", "M", "G", "T", "P", "E"}

// digits writes three digits of f.
func digits(f float64) string {
	switch {
	case f >= 99.95 || f == 0:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 9.995:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// amount writes a value in its metric's unit.
func amount(f float64, u wire.Unit) (number, unit string) {
	switch u {
	case wire.Microseconds:
		switch {
		case f < 1000:
			return digits(f), "µs"
		case f < 1e6:
			return digits(f / 1e3), "ms"
		}
		return digits(f / 1e6), "s"
	case wire.Percent, wire.Days:
		return digits(f), string(u)
	case wire.Bytes:
		i := 0
		for f >= 999.5 && i < len(prefixes)-1 {
			f, i = f/1000, i+1
		}
		return digits(f), prefixes[i] + "B"
	}
	return digits(f), ""
}

func join(number, unit string) string {
	if unit == "" {
		return number
	}
	return number + "\u202f" + unit
}

// percent writes a part of 1.
func percent(f float64) string {
	switch {
	case math.IsNaN(f):
		return "–"
	case f > 0 && f < 0.001:
		return "<0.1\u202f%"
	case f < 1 && f > 0.999:
		return ">99.9\u202f%"
	}
	return strconv.FormatFloat(100*f, 'f', 1, 64) + "\u202f%"
}

// moment writes a period's start as far as its grain tells.
func moment(t time.Time, g store.Grain) string {
	switch g {
	case store.Day:
		return t.UTC().Format("2 Jan 2006")
	case store.Hour:
		return t.UTC().Format("2 Jan, 15:04")
	}
	if t.Second() != 0 {
		return t.UTC().Format("2 Jan, 15:04:05")
	}
	return t.UTC().Format("2 Jan, 15:04")
}

func quantileName(q float64) string {
	return "p" + strconv.FormatFloat(100*q, 'f', -1, 64)
}
