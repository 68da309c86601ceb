package nearest

import "testing"

func TestHint(t *testing.T) {
	known := []string{"endpoint", "telemetry", "metrics_off", "label"}
	for in, want := range map[string]string{
		"endpiont":  `: did you mean "endpoint"?`,
		"Telemetry": `: did you mean "telemetry"?`,
		"metricoff": `: did you mean "metrics_off"?`,
		"colour":    ": known are endpoint, telemetry, metrics_off, label",
		"":          ": known are endpoint, telemetry, metrics_off, label",
	} {
		if got := Hint(in, known); got != want {
			t.Errorf("Hint(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Hint("x", nil); got != "" {
		t.Errorf("a hint at nothing: %q", got)
	}
}
