package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestUpToDate fails when the dictionary was changed and its document was not
// generated again.
func TestUpToDate(t *testing.T) {
	var want bytes.Buffer
	write(&want)
	got, err := os.ReadFile("../../docs/dictionary.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("docs/dictionary.md is not what the dictionary says; run `go generate ./wire`:\n%s", diff)
	}
}
