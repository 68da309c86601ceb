package slots

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// SetClock gives a folder another clock.
func SetClock(d *Dir, now func() time.Time) { d.now = now }

// Field is one of a JSON object's.
func Field(t *testing.T, b []byte, name string) string {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, m[name]); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
