package wire

import (
	_ "embed"
	"strings"
)

//go:embed ja4.txt
var ja4Text string

// JA4 names the fingerprints that may leave an instance, see ja4.txt.
var JA4 = dimension("ja4", "JA4 fingerprint of a ClientHello; only known ones are named.", knownJA4s()...)

func knownJA4s() (list []string) {
	for line := range strings.Lines(ja4Text) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" && name[0] != '#' {
			list = append(list, name)
		}
	}
	return list
}

// JA4Value is the value of a fingerprint. It does not allocate.
func JA4Value(ja4 []byte) Value { return JA4.index[string(ja4)] }
