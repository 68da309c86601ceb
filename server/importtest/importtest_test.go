// Package importtest holds the rules of who may import whom, as tests.
package importtest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const (
	root   = "github.com/caddy-evergreen/evergreen"
	server = root + "/server"
)

// stages are the packages that data flows through. They meet at the types of
// wire, ingestlog, store and artifact, never at each other.
var stages = []string{
	root + "/recorder", root + "/reporter", root + "/updater", root + "/boot", root + "/trust",
	server + "/collect", server + "/aggregate", server + "/campaigns", server + "/dashboard", server + "/dataset",
	server + "/release", server + "/plan", server + "/rollout", server + "/build", server + "/updates", server + "/alerts",
}

// wiring is where stages are put together.
var wiring = []string{root, server + "/cmd/evergreen", server + "/testbed", server + "/bench", server + "/e2e"}

// controlled are the packages that keep their state through control.
var controlled = []string{
	server + "/release", server + "/plan", server + "/rollout", server + "/build", server + "/artifact", server + "/updates",
	server + "/alerts",
}

type rule struct {
	why   string
	who   func(pkg string) bool
	mayBe func(pkg, imported string) bool
}

var rules = []rule{
	{
		"wire imports the standard library and the protobuf runtime only",
		is(root + "/wire"),
		func(_, i string) bool { return standard(i) || under(i, "google.golang.org/protobuf") },
	}, {
		"the root module never imports the server",
		func(p string) bool { return !under(p, server) },
		func(_, i string) bool { return !under(i, server) },
	}, {
		"stages do not import stages, but for boot: it proves, before all else starts, what trust downloaded",
		func(p string) bool { return slices.Contains(stages, p) },
		func(p, i string) bool {
			return i == p || !slices.Contains(stages, i) || p == root+"/boot" && i == root+"/trust"
		},
	}, {
		"only the wiring imports a database engine",
		func(p string) bool { return !slices.Contains(wiring, p) && !under(p, server+"/store/duckdb") },
		func(_, i string) bool {
			return !under(i, server+"/store/duckdb") && !under(i, "github.com/duckdb")
		},
	}, {
		"only control imports the drivers of the control state",
		func(p string) bool { return !under(p, server+"/control") && !slices.Contains(wiring, p) },
		func(_, i string) bool { return !under(i, "modernc.org/sqlite") && !under(i, "github.com/jackc") },
	}, {
		"only what keeps control state, and engines, speak SQL",
		func(p string) bool {
			return !slices.Contains(wiring, p) && !under(p, server+"/store/duckdb") && !under(p, server+"/control") && !slices.Contains(controlled, p)
		},
		func(_, i string) bool { return i != "database/sql" },
	}, {
		"a library of ours that stands alone imports nothing of ours",
		is(root+"/clienthello", root+"/delta", root+"/bridge", root+"/nearest", root+"/hsts", root+"/updater/watch", root+"/updater/rehearse/confine", server+"/hll", server+"/pcap", server+"/render"),
		func(_, i string) bool { return !under(i, root) },
	}, {
		"rollout learns of health from store alone",
		is(server + "/rollout"),
		func(_, i string) bool {
			return !under(i, root) || i == server+"/store" || i == server+"/control" || i == server+"/answer" || under(i, root+"/wire")
		},
	}, {
		"what is watched is told without a database, a network or a page",
		is(server + "/watch"),
		func(_, i string) bool { return !under(i, root) || i == root+"/wire" },
	}, {
		"slots knows what is on the disk, and of ours wire and locks alone",
		is(root + "/slots"),
		func(_, i string) bool { return !under(i, root) || i == root+"/wire" || i == root+"/internal/filelock" },
	}, {
		"what an executable does first imports so little that it comes first",
		is(root+"/boot/early", root+"/boot/spec"),
		func(_, i string) bool {
			return slices.Contains([]string{"errors", "os", "strconv", "strings", "sync/atomic", "syscall", "time"}, i)
		},
	}, {
		"only the app and its wiring know Caddy",
		func(p string) bool {
			return p != root && p != root+"/inventory" && !slices.Contains(wiring, p)
		},
		func(_, i string) bool { return !under(i, "github.com/caddyserver/caddy/v2") },
	}, {
		"a rehearsal knows what it runs only by what it prints and answers",
		is(root + "/updater/rehearse"),
		func(_, i string) bool {
			return !under(i, root) || i == root+"/updater/rehearse/confine" || i == root+"/internal/freeport"
		},
	}, {
		"only render runs JavaScript",
		func(p string) bool { return p != server+"/render" },
		func(_, i string) bool { return !under(i, "github.com/dop251/goja") },
	}, {
		"the server does not import the app, and with it Caddy",
		func(p string) bool { return under(p, server) },
		func(_, i string) bool { return i != root },
	},
}

func TestImports(t *testing.T) {
	pkgs := list(t)
	for _, r := range rules {
		for _, p := range pkgs {
			if !r.who(p.ImportPath) {
				continue
			}
			for _, i := range p.Imports {
				if !r.mayBe(p.ImportPath, i) {
					t.Errorf("%s imports %s, but %s", p.ImportPath, i, r.why)
				}
			}
		}
	}
}

func TestNoCgoInRoot(t *testing.T) {
	for _, p := range list(t) {
		if !under(p.ImportPath, server) && len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo in %v: a Caddy is built without", p.ImportPath, p.CgoFiles)
		}
	}
}

// beyondCaddy are the modules that the root module may require although Caddy
// does not, each with its reason.
var beyondCaddy = map[string]string{
	"github.com/google/go-cmp":        "tests only",
	"github.com/caddyserver/caddy/v2": "what all is about",
	// An update is trusted by what The Update Framework says: package trust.
	"github.com/theupdateframework/go-tuf/v2":           "the client of The Update Framework",
	"github.com/secure-systems-lab/go-securesystemslib": "of go-tuf: canonical JSON",
	"github.com/sigstore/sigstore":                      "of go-tuf: verifying signatures",
	"github.com/sigstore/protobuf-specs":                "of sigstore: names of algorithms",
	"github.com/google/go-containerregistry":            "of sigstore",
	"github.com/opencontainers/go-digest":               "of go-containerregistry",
}

// TestDependencyBudget holds the root module to what Caddy itself requires, in
// Caddy's versions: whoever compiles us in gets no other code and no other
// version than without us.
func TestDependencyBudget(t *testing.T) {
	ours := parse(t, "../../go.mod")
	cmd := exec.Command("go", "list", "-m", "-f", "{{.GoMod}}", "github.com/caddyserver/caddy/v2")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("finding Caddy's go.mod: %v", err)
	}
	caddys := map[string]string{}
	for _, r := range parse(t, strings.TrimSpace(string(out))).Require {
		caddys[r.Mod.Path] = r.Mod.Version
	}
	for _, r := range ours.Require {
		if beyondCaddy[r.Mod.Path] != "" {
			continue
		}
		switch want, ok := caddys[r.Mod.Path]; {
		case !ok:
			t.Errorf("go.mod requires %s, which Caddy does not", r.Mod.Path)
		case want != r.Mod.Version:
			t.Errorf("go.mod requires %s %s, Caddy %s: it would change the version in everyone's build", r.Mod.Path, r.Mod.Version, want)
		}
	}
	if len(ours.Replace) > 0 {
		t.Error("go.mod has a replace: `go install …@version` refuses that")
	}
	if len(parse(t, "../go.mod").Replace) > 0 {
		t.Error("server/go.mod has a replace: `go install …@version` refuses that")
	}
}

func parse(t *testing.T, file string) *modfile.File {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse(file, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

type goPackage struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
}

func list(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,CgoFiles", "./...", "./server/...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 5 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	return pkgs
}

func is(pkgs ...string) func(string) bool {
	return func(p string) bool { return slices.Contains(pkgs, p) }
}

func under(pkg, path string) bool { return pkg == path || strings.HasPrefix(pkg, path+"/") }

func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}
