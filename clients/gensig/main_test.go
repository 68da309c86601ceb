package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func generate(t *testing.T, text string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.go")
	if err := run([]string{out, dir}); err != nil {
		return "", err
	}
	src, err := os.ReadFile(out)
	return string(src), err
}

const engineBlock = "format 1\nengine chromium\nlibrary boringssl 38-\nrule 70- tls1.3\nsignature s\nengine chromium\nlibrary boringssl\nversions 1-2\nextensions 0 G? ca34?\nsource here\n"

func TestGenerates(t *testing.T) {
	src, err := generate(t, engineBlock+"ciphers G 1301 1302?\ngroups 1d *\ntool curl\nusual openssl\nnever go\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"engineChromium", "{grease, 0x1301, 0x1302 | optional}", "{0x1d, anything}", "case 0xca34:", "{70, 65535, ruleTLS13, 0x0}", "// curl"} {
		if !strings.Contains(src, want) {
			t.Errorf("lacks %s:\n%s", want, src)
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"another format", "format 2\n", `a.txt:1: the first line is not "format 1"`},
		{"no format", "engine x\n", `a.txt:1: the first line is not "format 1"`},
		{"a line outside", "format 1\nlibrary nss\n", "a.txt:2: library is outside a block"},
		{"an unknown word", engineBlock + "cipers 1301\n", `a.txt:11: unknown word "cipers" in a signature`},
		{"an unknown rule", "format 1\nengine e\nrule 1- greasy\n", `a.txt:3: unknown rule "greasy"`},
		{"a bad code", engineBlock + "ciphers 13011\n", `a.txt:11: ciphers: strconv.ParseUint: parsing "13011": value out of range`},
		{"versions backwards", "format 1\nsignature s\nversions 9-3\n", "a.txt:3: versions 9-3 end before they begin"},
		{"an unknown library", "format 1\nsignature s\nlibrary borigssl\nextensions *\nsource here\n", `signature s: the dictionary has no TLS library "borigssl"`},
		{"an unknown engine", "format 1\nsignature s\nengine e\nlibrary nss\nversions 1-2\nextensions *\nsource here\n", `signature s: there is no engine "e"`},
		{"no source", "format 1\nsignature s\nlibrary nss\nextensions *\n", "signature s: it needs a source, extensions, and versions with an end if it has an engine"},
		{"twice", engineBlock + "signature s\nlibrary nss\nextensions *\nsource here\n", "signature s is there twice"},
		{"an unknown tool", "format 1\ntool curly\nusual openssl\n", `the dictionary has no tool "curly"`},
		{"both", "format 1\ntool curl\nusual openssl\nnever openssl\n", "tool curl: openssl is both usual and never"},
	} {
		_, err := generate(t, c.text)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
