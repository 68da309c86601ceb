package wire

import (
	"regexp"
	"testing"
)

func TestKnownJA4s(t *testing.T) {
	form := regexp.MustCompile(`^[tq](1[0-3]|s[23])[di]\d{4}[0-9a-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}$`)
	for i, name := range JA4.Values[1:] {
		if !form.MatchString(name) {
			t.Errorf("%q is no JA4", name)
		}
		if JA4Value([]byte(name)) != Value(i+1) {
			t.Errorf("%s is not found", name)
		}
	}
	if JA4Value([]byte("t13d0000h2_000000000000_000000000000")) != Other {
		t.Error("an unknown fingerprint has a name")
	}
}

// Every code point has its own name, and the tables find it.
func TestOffered(t *testing.T) {
	for _, test := range []struct {
		d     *Dimension
		codes []codePoint
		value func(uint16) Value
	}{
		{OfferedSuite, offeredSuites, OfferedSuiteValue}, {OfferedGroup, offeredGroups, OfferedGroupValue},
		{OfferedScheme, offeredSchemes, OfferedSchemeValue}, {OfferedVersion, offeredVersions, OfferedVersionValue},
		{OfferedExtension, offeredExtensions, OfferedExtensionValue},
	} {
		for _, c := range test.codes {
			if got := test.d.ValueName(test.value(c.code)); got != c.name {
				t.Errorf("%s: %#04x is %s, want %s", test.d.Name, c.code, got, c.name)
			}
		}
		for i := range uint16(16) {
			if got := test.d.ValueName(test.value(i<<12 | 0x0a00 | i<<4 | 0x0a)); got != "GREASE" {
				t.Errorf("%s: GREASE %d is %s", test.d.Name, i, got)
			}
		}
		if got := test.value(0xeeee); got != Other {
			t.Errorf("%s: 0xeeee is %d", test.d.Name, got)
		}
	}
}
