package evergreen

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWaitForCertificates shakes hands right after the wait, with a server that
// is started again and again: its certificate is loaded after it says that it
// serves.
func TestWaitForCertificates(t *testing.T) {
	s, c := newSite(t, "", `respond "hello"`)
	for range 5 {
		mustLoad(t, c)
		if d := cmp.Diff([]string{"localhost"}, managedHosts()); d != "" {
			t.Fatalf("managed hosts (-want +got):\n%s", d)
		}
		waitForCertificates(time.Minute)
		conn, err := tls.Dial("tcp", "127.0.0.1:"+s.https, insecure.Clone())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		stop(t, s)
	}
}

// TestWaitForNoCertificates waits for nothing where there is nothing to wait for.
func TestWaitForNoCertificates(t *testing.T) {
	if got := managedHosts(); got != nil {
		t.Errorf("without a configuration: %q", got)
	}
	_, c := newSite(t, "auto_https disable_certs", `respond "hello"`)
	mustLoad(t, c)
	if got := managedHosts(); got != nil {
		t.Errorf("without managed certificates: %q", got)
	}
}
