package release_test

import (
	"crypto/ed25519"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

func TestRoles(t *testing.T) {
	s := start(t, release.Config{})
	grant := func(as, who, path, name string, role release.Role, status int, want string) {
		t.Helper()
		g := release.GrantRequest{Principal: release.TokenPrincipal(who), Path: path, Role: role, Name: name}
		if status == http.StatusOK {
			s.ok(as, "/api/v1/releases/grant", g, nil)
		} else {
			s.refused(status, want, as, "/api/v1/releases/grant", g)
		}
	}
	org, ann, eve := release.NewToken(), release.NewToken(), release.NewToken()
	grant(s.admin, org, "github.com/org/...", "org", release.RoleAdmin, http.StatusOK, "")
	grant(org, ann, "github.com/org/plugin", "ann", release.RoleMaintainer, http.StatusOK, "")
	grant(org, ann, "github.com/other/plugin", "ann", release.RoleMaintainer, http.StatusForbidden, "admin of")
	grant(org, ann, "*", "ann", release.RoleMaintainer, http.StatusForbidden, "admin of all")
	grant(org, ann, "github.com/organ", "ann", release.RoleMaintainer, http.StatusForbidden, "admin of")
	grant(org, ann, "github.com/...", "ann", release.RoleMaintainer, http.StatusForbidden, "admin of")
	grant(ann, eve, "github.com/org/plugin", "eve", release.RoleMaintainer, http.StatusForbidden, "admin of")
	// Nobody gets another's name, nor two names.
	grant(org, eve, "github.com/org/plugin", "ann", release.RoleMaintainer, http.StatusConflict, "of this name")
	grant(org, ann, "github.com/org/plugin", "bob", release.RoleMaintainer, http.StatusConflict, "belongs to")
	grant(s.admin, eve, "github.com/org/plugin", "ann", release.RoleMaintainer, http.StatusOK, "")
	grant(s.admin, eve, "github.com/org/plugin", "x\ny", release.RoleMaintainer, http.StatusUnprocessableEntity, "one line")
	grant(s.admin, eve, "github.com/org/plugin", "ann", "root", http.StatusUnprocessableEntity, "role is")
	s.refused(http.StatusUnprocessableEntity, "principal", s.admin, "/api/v1/releases/grant", release.GrantRequest{Principal: "token:" + release.NewToken(), Path: "*", Role: release.RoleAdmin, Name: "x"})

	tag := func(as, path string, status int) {
		t.Helper()
		if got, text := s.post(as, "/api/v1/releases/tag", release.Tag{Path: path, Version: "v0.1.0", Severity: wire.SeverityMinor}, nil); got != status {
			t.Errorf("tagging %s: %d %s, not %d", path, got, text, status)
		}
	}
	tag(ann, "github.com/org/plugin", http.StatusOK)
	tag(ann, "github.com/org/plugin/sub", http.StatusForbidden)
	tag(org, "github.com/org/anything", http.StatusOK)
	tag(org, "github.com/organ/anything", http.StatusForbidden)
	tag(s.admin, "example.com/anything", http.StatusOK)

	s.refused(http.StatusConflict, "last administrator", s.admin, "/api/v1/releases/revoke", release.RevokeRequest{Path: "*", Who: "admin"})
	s.refused(http.StatusNotFound, "no role", s.admin, "/api/v1/releases/revoke", release.RevokeRequest{Path: "*", Who: "ann"})
	s.ok(org, "/api/v1/releases/revoke", release.RevokeRequest{Path: "github.com/org/plugin", Who: release.TokenPrincipal(ann)}, nil)
	tag(ann, "github.com/org/plugin", http.StatusForbidden)
	tag(eve, "github.com/org/plugin", http.StatusOK)
	var gs []release.Grant
	s.ok(eve, "/api/v1/releases/roles", struct{}{}, &gs)
	var got []string
	for _, g := range gs {
		got = append(got, fmt.Sprintf("%s %s %s by %s", g.Name, g.Role, g.Path, g.By))
	}
	if diff := cmp.Diff(map[string]bool{"admin admin * by evergreen": true, "org admin github.com/org/... by admin": true, "ann maintainer github.com/org/plugin by admin": true}, set(got)); diff != "" {
		t.Error("roles (-want +got):\n" + diff)
	}
	// The token itself is nowhere.
	if _, text := s.get("/api/v1/releases/audit?limit=1000", nil); strings.Contains(text, ann) || strings.Contains(text, s.admin) {
		t.Error("the log has a token")
	}
}

func set(of []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range of {
		m[s] = true
	}
	return m
}

func TestFirstAdmin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "admin.token")
	s := start(t, release.Config{AdminTokenFile: file})
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the token's file: %v, %v", info, err)
	}
	// A new start makes no other; nor does one after a crash before the role was kept.
	again := start(t, release.Config{AdminTokenFile: file, DB: s.db})
	crashed := start(t, release.Config{AdminTokenFile: file})
	for _, one := range []*server{again, crashed} {
		one.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v0.1.0", Severity: wire.SeverityMinor}, nil)
	}
	db, err := control.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := os.WriteFile(file, []byte("half\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := release.Open(t.Context(), release.Config{DB: db, AdminTokenFile: file}); err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("half a token gets %v", err)
	}
}

func TestSigned(t *testing.T) {
	s := start(t, release.Config{})
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.ok(s.admin, "/api/v1/releases/grant", release.GrantRequest{Principal: release.KeyPrincipal(pub), Path: plugin, Role: release.RoleMaintainer, Name: "ann"}, nil)
	type signing struct {
		path string
		at   time.Time
		body []byte
		p    wire.Purpose
	}
	send := func(change func(*signing, *http.Request)) (int, string) {
		t.Helper()
		r := s.request("POST", "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v1.2.3", Severity: wire.SeverityMinor})
		body, err := r.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		sg := signing{path: "/api/v1/releases/tag", at: s.clock.Now(), body: b, p: wire.PurposeChange}
		if change != nil {
			change(&sg, r)
		}
		at := strconv.FormatInt(sg.at.UnixMilli(), 10)
		r.Header.Set(wire.HeaderKey, hex.EncodeToString(pub))
		if r.Header.Get(wire.HeaderTime) == "" {
			r.Header.Set(wire.HeaderTime, at)
		}
		r.Header.Set(wire.HeaderSignature, hex.EncodeToString(wire.Sign(key, sg.p, wire.ChangeContent(sg.path, at, sg.body))))
		return s.do(r, nil)
	}
	for name, c := range map[string]struct {
		change func(*signing, *http.Request)
		want   string
	}{
		"another path":    {func(sg *signing, _ *http.Request) { sg.path = "/api/v1/releases/yank" }, "does not belong"},
		"another body":    {func(sg *signing, _ *http.Request) { sg.body = append(sg.body, ' ') }, "does not belong"},
		"another time":    {func(_ *signing, r *http.Request) { r.Header.Set(wire.HeaderTime, "1") }, "does not belong"},
		"another purpose": {func(sg *signing, _ *http.Request) { sg.p = wire.PurposeReport }, "does not belong"},
		"too old":         {func(sg *signing, _ *http.Request) { sg.at = sg.at.Add(-11 * time.Minute) }, "by your clock"},
		"of tomorrow":     {func(sg *signing, _ *http.Request) { sg.at = sg.at.Add(24 * time.Hour) }, "by your clock"},
	} {
		if status, text := send(c.change); status != http.StatusUnauthorized || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, which should be 401 and name %q", name, status, text, c.want)
		}
	}
	if status, text := send(nil); status != http.StatusOK {
		t.Fatalf("a good one: %d %s", status, text)
	}
	if status, text := send(nil); status != http.StatusConflict || !strings.Contains(text, "done already") {
		t.Errorf("the same again: %d %s", status, text)
	}
	s.clock.add(time.Millisecond)
	if status, text := send(nil); status != http.StatusOK {
		t.Errorf("signed again: %d %s", status, text)
	}
	// Those that are too old to be obeyed are not kept.
	s.clock.add(time.Hour)
	if status, text := send(nil); status != http.StatusOK {
		t.Errorf("an hour later: %d %s", status, text)
	}
	var n int
	if err := s.db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), "SELECT count(*) FROM release_spent").Scan(&n)
	}); err != nil || n != 1 {
		t.Errorf("%d signatures are kept, not 1: %v", n, err)
	}
}

func TestAudit(t *testing.T) {
	s := start(t, release.Config{})
	ann := s.maintainer("ann", plugin)
	for i := range 5 {
		s.ok(ann, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: fmt.Sprintf("v0.%d.0", i), Severity: wire.SeverityMinor}, nil)
	}
	lines, sum, err := s.VerifyAudit(t.Context())
	if err != nil || lines != 7 || len(sum) != 64 { // two grants
		t.Fatalf("%d lines, %q, %v", lines, sum, err)
	}
	var all, page []string
	var given []release.Change
	for next := int64(0); ; {
		var list release.AuditList
		query := "?limit=3"
		if next > 0 {
			query += fmt.Sprint("&before=", next)
		}
		if status, text := s.get("/api/v1/releases/audit"+query, &list); status != http.StatusOK {
			t.Fatal(status, text)
		}
		page = append(page, fmt.Sprint(len(list.Changes)))
		given = append(given, list.Changes...)
		for _, c := range list.Changes {
			all = append(all, fmt.Sprintf("%d %s %s %s", c.N, c.By, c.Action, c.Subject))
		}
		if next = list.Next; next == 0 {
			break
		}
	}
	want := []string{"7 ann tag v0.4.0", "6 ann tag v0.3.0", "5 ann tag v0.2.0", "4 ann tag v0.1.0", "3 ann tag v0.0.0", "2 admin grant ann", "1 evergreen grant admin"}
	if diff := cmp.Diff(want, all); diff != "" || cmp.Diff([]string{"3", "3", "1"}, page) != "" {
		t.Errorf("in pages of %v (-want +got):\n%s", page, diff)
	}
	// What the API gives can be checked by anybody.
	slices.Reverse(given)
	var chain release.Chain
	for _, line := range given {
		if err := chain.Next(line); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(release.Chain{Lines: lines, Sum: sum}, chain); diff != "" {
		t.Error("checked from outside (-want +got):\n" + diff)
	}
	for _, c := range []struct{ sql, want string }{
		{"UPDATE release_audit SET who = 'bob' WHERE n = 4", "line 4"},
		{"UPDATE release_audit SET who = 'ann' WHERE n = 4", ""},
		{"DELETE FROM release_audit WHERE n = 3", "line 3"},
	} {
		if err := s.db.Tx(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), c.sql)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.VerifyAudit(t.Context()); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("after %s: %v", c.sql, err)
		}
	}
}
