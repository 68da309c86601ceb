package release_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

func TestTag(t *testing.T) {
	s := start(t, release.Config{})
	ann := s.maintainer("ann", plugin)
	tag := release.Tag{
		Path: plugin, Version: "v1.2.3", Severity: wire.SeverityImportant, Notes: "Fixes\nit.", Links: []string{"https://example.com/x"},
		MinKernel: map[string]string{"linux": "3.2"}, Step: true,
	}
	before := s.Snapshot()
	var out release.Outcome
	s.ok(ann, "/api/v1/releases/tag", tag, &out)
	want := wire.Release{
		Path: plugin, Version: "v1.2.3", Severity: wire.SeverityImportant, Channel: wire.ChannelStable, Notes: "Fixes\nit.",
		Links: tag.Links, MinKernel: tag.MinKernel, Step: true, Tagged: true, By: "ann", Time: s.clock.Now(),
	}
	if diff := cmp.Diff(release.Outcome{Release: want}, out); diff != "" {
		t.Error("the answer (-want +got):\n" + diff)
	}
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); cmp.Diff(want, got) != "" {
		t.Error("in the snapshot (-want +got):\n" + cmp.Diff(want, got))
	}
	if len(before.Releases(plugin)) != 0 || before.Generation() == s.Snapshot().Generation() {
		t.Error("the snapshot before has what came later, or its generation")
	}
	select {
	case <-before.Superseded():
	default:
		t.Error("the snapshot before does not say that there is another")
	}
	// Others are put in the order of versions, not of tagging.
	for _, v := range []string{"v1.10.0", "v1.9.0", "v2.0.0+incompatible", "v1.10.0-rc.1"} {
		s.ok(ann, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: v, Severity: wire.SeverityMinor}, nil)
	}
	var got []string
	for _, r := range s.Snapshot().Releases(plugin) {
		got = append(got, r.Version+" "+string(r.Channel))
	}
	if diff := cmp.Diff([]string{"v1.2.3 stable", "v1.9.0 stable", "v1.10.0-rc.1 beta", "v1.10.0 stable", "v2.0.0+incompatible stable"}, got); diff != "" {
		t.Error("in order (-want +got):\n" + diff)
	}
	// Another server with the same state has it all.
	other := start(t, release.Config{DB: s.db})
	if diff := cmp.Diff(s.Snapshot().Releases(plugin), other.Snapshot().Releases(plugin)); diff != "" {
		t.Error("another server (-want +got):\n" + diff)
	}
}

func TestTagRefuses(t *testing.T) {
	s := start(t, release.Config{})
	ann := s.maintainer("ann", plugin)
	good := release.Tag{Path: plugin, Version: "v1.2.3", Severity: wire.SeverityMinor}
	for want, change := range map[string]func(*release.Tag){
		"severity is": func(t *release.Tag) { t.Severity = "grave" },
		"severity":    func(t *release.Tag) { t.Severity = wire.SeverityUnrated },
		"version is":  func(t *release.Tag) { t.Version = "1.2.3" },
		"in full":     func(t *release.Tag) { t.Version = "v1.2" },
		"can't have":  func(t *release.Tag) { t.Version = "v2.0.0" },
		"path is":     func(t *release.Tag) { t.Path = "../../etc" },
		"toolchain":   func(t *release.Tag) { t.Path, t.Version = wire.Toolchain, "v1.26.0" },
		"channel is":  func(t *release.Tag) { t.Channel = "nightly" },
		"printed":     func(t *release.Tag) { t.Notes = "\x1b[31mred" },
		"at most":     func(t *release.Tag) { t.Notes = strings.Repeat("x", 17<<10) },
		"https":       func(t *release.Tag) { t.Links = []string{"javascript:alert(1)"} },
		"links":       func(t *release.Tag) { t.Links = make([]string, 21) },
		"min_kernel":  func(t *release.Tag) { t.MinKernel = map[string]string{"linux": "new"} },
		"maintainer of": func(t *release.Tag) {
			t.Path = wire.CaddyPath
			t.Version = "v2.11.9"
		},
	} {
		tag := good
		change(&tag)
		status := http.StatusUnprocessableEntity
		if want == "maintainer of" {
			status = http.StatusForbidden
		}
		s.refused(status, want, ann, "/api/v1/releases/tag", tag)
	}
	s.refused(http.StatusForbidden, "not known", release.NewToken(), "/api/v1/releases/tag", good)
	s.refused(http.StatusBadRequest, "severty", ann, "/api/v1/releases/tag", map[string]string{"severty": "minor"})
	s.refused(http.StatusRequestEntityTooLarge, "large", ann, "/api/v1/releases/tag", strings.Repeat("x", 70<<10))
	r := s.request("POST", "/api/v1/releases/tag", good)
	if status, text := s.do(r, nil); status != http.StatusUnauthorized || !strings.Contains(text, "Bearer") {
		t.Errorf("without a token: %d %s", status, text)
	}
	if got := s.Snapshot().Paths(); len(got) != 0 {
		t.Errorf("after refusals there are releases of %v", got)
	}
}

func TestTwoPeople(t *testing.T) {
	s := start(t, release.Config{TwoPeople: true})
	ann, bob, eve := s.maintainer("ann", plugin), s.maintainer("bob", plugin), s.maintainer("eve", "github.com/someone/other")
	critical := release.Tag{Path: plugin, Version: "v1.2.3", Severity: wire.SeverityCritical}
	var out release.Outcome
	s.ok(ann, "/api/v1/releases/tag", critical, &out)
	if out.Proposal == nil || out.Release.Path != "" || len(s.Snapshot().Releases(plugin)) != 0 {
		t.Fatalf("one person alone makes a release critical: %+v", out)
	}
	approve := release.ApproveRequest{Path: plugin, Version: "v1.2.3", Sum: out.Proposal.Sum}
	s.refused(http.StatusForbidden, "another person", ann, "/api/v1/releases/approve", approve)
	s.refused(http.StatusForbidden, "no maintainer", eve, "/api/v1/releases/approve", approve)
	// A second token of ann's is still ann.
	s.refused(http.StatusForbidden, "another person", s.maintainer("ann", plugin), "/api/v1/releases/approve", approve)

	// What bob saw is what counts: ann puts something else in its place.
	changed := critical
	changed.Notes = "another text"
	s.ok(ann, "/api/v1/releases/tag", changed, &out)
	s.refused(http.StatusConflict, "another one", bob, "/api/v1/releases/approve", approve)
	approve.Sum = s.Snapshot().Proposals()[0].Sum
	s.ok(bob, "/api/v1/releases/approve", approve, &out)
	want := wire.Release{
		Path: plugin, Version: "v1.2.3", Severity: wire.SeverityCritical, Channel: wire.ChannelStable, Notes: "another text",
		Tagged: true, By: "ann, bob", Time: s.clock.Now(),
	}
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); cmp.Diff(want, got) != "" || len(s.Snapshot().Proposals()) != 0 {
		t.Error("approved (-want +got):\n" + cmp.Diff(want, got))
	}
	s.refused(http.StatusNotFound, "waits for approval", bob, "/api/v1/releases/approve", approve)

	// One alone can't take the weight from it either; what is not critical needs nobody.
	lesser := critical
	lesser.Severity = wire.SeverityMinor
	s.ok(bob, "/api/v1/releases/tag", lesser, &out)
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); out.Proposal == nil || got.Severity != wire.SeverityCritical {
		t.Error("one person alone makes a critical release minor")
	}
	s.ok(ann, "/api/v1/releases/approve", release.ApproveRequest{Path: plugin, Version: "v1.2.3", Sum: out.Proposal.Sum, Reject: true}, nil)
	if len(s.Snapshot().Proposals()) != 0 {
		t.Error("a rejected proposal is still there")
	}
	lesser.Version = "v1.2.4"
	var at release.Outcome
	s.ok(bob, "/api/v1/releases/tag", lesser, &at)
	if at.Proposal != nil || at.Release.Severity != wire.SeverityMinor {
		t.Errorf("a minor release waits: %+v", at)
	}

	// Whoever lost the role proposed in vain.
	critical.Version = "v1.2.5"
	s.ok(ann, "/api/v1/releases/tag", critical, &out)
	s.ok(s.admin, "/api/v1/releases/revoke", release.RevokeRequest{Path: plugin, Who: "ann"}, nil)
	s.refused(http.StatusConflict, "no role any more", bob, "/api/v1/releases/approve", release.ApproveRequest{Path: plugin, Version: "v1.2.5", Sum: out.Proposal.Sum})
	s.refused(http.StatusForbidden, "not known", ann, "/api/v1/releases/tag", critical)
}

func TestYank(t *testing.T) {
	s := start(t, release.Config{TwoPeople: true})
	ann := s.maintainer("ann", plugin)
	yank := release.YankRequest{Path: plugin, Version: "v1.2.3", Reason: "loses data"}
	s.refused(http.StatusUnprocessableEntity, "reason", ann, "/api/v1/releases/yank", release.YankRequest{Path: plugin, Version: "v1.2.3"})
	s.ok(ann, "/api/v1/releases/yank", yank, nil)
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); got.Yanked != "loses data" || got.Tagged {
		t.Errorf("withdrawn: %+v", got)
	}
	// A tag says what it is, not that it is good.
	s.ok(ann, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v1.2.3", Severity: wire.SeverityFeature}, nil)
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); got.Yanked != "loses data" || !got.Tagged {
		t.Errorf("tagged after it was withdrawn: %+v", got)
	}
	yank.Restore, yank.Reason = true, "it was another version"
	s.ok(ann, "/api/v1/releases/yank", yank, nil)
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); got.Yanked != "" || got.Severity != wire.SeverityFeature {
		t.Errorf("restored: %+v", got)
	}
	s.refused(http.StatusNotFound, "not withdrawn", ann, "/api/v1/releases/yank", yank)

	var shown release.ReleaseShown
	s.get("/api/v1/releases/show?path="+plugin+"&version=v1.2.3", &shown)
	var actions []string
	for _, c := range shown.History {
		actions = append(actions, c.By+" "+c.Action)
	}
	if diff := cmp.Diff([]string{"ann restore", "ann tag", "ann yank"}, actions); diff != "" {
		t.Error("its history (-want +got):\n" + diff)
	}
	if !strings.Contains(string(shown.History[0].Before), "loses data") || !strings.Contains(string(shown.History[0].After), "it was another version") {
		t.Errorf("the log does not say from what to what: %s to %s", shown.History[0].Before, shown.History[0].After)
	}
}
