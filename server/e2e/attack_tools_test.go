//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2EAttackTools attacks a Caddy with programs that people use for it, each
// of which is seen as what it does.
func TestE2EAttackTools(t *testing.T) {
	srv := startServer(t, siegeTiming...)
	s := besiege(t, srv, "")
	s.visitors()
	plain, site := "http://localhost"+s.http[len("127.0.0.1"):], "https://localhost"+s.tls[len("127.0.0.1"):]
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte(wordList()), 0o600); err != nil {
		t.Fatal(err)
	}
	type outcome struct{ Tool, Kind string }
	var want, got []outcome
	seen := map[uint64]bool{}
	for _, c := range []struct{ kind, command string }{
		{"slow_requests", "slowhttptest -H -c 150 -r 150 -i 1 -l 5 -p 5 -u " + plain + "/"},
		{"slow_requests", "slowhttptest -B -c 150 -r 150 -i 1 -l 5 -p 5 -s 8192 -u " + plain + "/slow"},
		{"scan", "gobuster dir -q -z -k -t 8 -w " + words + " -u " + site + "/"},
		{"request_flood", "wrk -t 1 -c 8 -d 7s " + site + "/"},
	} {
		args := strings.Fields(c.command)
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Logf("%s is not installed: left out", args[0])
			continue
		}
		tool := strings.Join(args[:2], " ")
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		cancel()
		t.Logf("%s: %v\n%s", c.command, err, out[max(0, len(out)-500):])
		want = append(want, outcome{tool, c.kind})
		var ins map[uint64]*wire.Incident
		eventually(t, 60*time.Second, func() error {
			ins = s.witness.arrived()
			for number, in := range ins {
				if in.Open {
					return fmt.Errorf("%v is still open", in)
				}
				if !seen[number] {
					return nil
				}
			}
			return fmt.Errorf("%s has made no incident; there were %v", tool, kindsOf(ins))
		})
		for number, in := range ins {
			if !seen[number] {
				seen[number] = true
				t.Logf("%v", in)
				got = append(got, outcome{tool, wire.IncidentKind.ValueName(wire.Value(in.Kind))})
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}
}

// wordList is like those that such programs are fed with: names that scanners
// look for, in several folders, among many others.
func wordList() string {
	names := strings.Fields(`.env .env.local .git/config .git/HEAD .svn/entries .htpasswd .aws/credentials .ssh/id_rsa
		wp-login.php wp-config.php.bak xmlrpc.php phpmyadmin/index.php adminer.php admin.php cgi-bin/test.cgi server-status actuator/env
		backup.zip backup.sql dump.sql database.sql config.php.bak shell.php cmd.php phpinfo.php info.php id_rsa server.key web.config.bak`)
	var b strings.Builder
	for i, folder := range []string{"", "blog/", "old/", "new/", "test/", "site/"} {
		for _, name := range names {
			fmt.Fprintln(&b, folder+name)
			for n := range 5 {
				fmt.Fprintf(&b, "%s%d%s%d\n", folder, i, strings.Trim(name[:3], "./"), n)
			}
		}
	}
	return b.String()
}
