package evergreen

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// What fails in Caddy's storage before or after the issuer is asked is a
// failure, too.
func TestStorageFailures(t *testing.T) {
	for name, folder := range map[string]string{"the certificate can't be saved": "certificates", "there is no lock": "locks"} {
		t.Run(name, func(t *testing.T) {
			s := testSite{freePort(t), freePort(t)}
			c := adapt(t, fmt.Sprintf(`{
	http_port %s
	https_port %s
	skip_install_trust
	grace_period 2s
}
https://%s {
	bind 127.0.0.1
	tls internal
}
`, s.http, s.https, newNames()("storage")))
			freshStorage(t, c)
			// There is no folder, and none can be made.
			if err := os.Symlink("not there/at all", filepath.Join(object(c, "storage")["root"].(string), folder)); err != nil {
				t.Fatal(err)
			}
			mustLoad(t, c)
			wantCounts(t, map[string]float64{
				"certificates_attempts{certificate_occasion=obtain}":                                                 1,
				"certificates_failed{certificate_cause=storage,certificate_issuer=none,certificate_occasion=obtain}": 1,
			}, "certificates_attempts", "certificates_failed", "certificates_issued")
		})
	}
}
