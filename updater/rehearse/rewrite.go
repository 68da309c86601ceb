package rehearse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
)

// The modules of ours that a rewritten configuration names. A candidate has
// them since it has this module; their names must stay.
const (
	storageModule    = "evergreen_rehearsal" // caddy.storage.…: reads pass, writes stay in memory; {"real": a storage}
	issuerModule     = "evergreen_rehearsal" // tls.issuance.…: never issues; {"real": an issuer, for its key}
	permissionModule = "evergreen_rehearsal" // tls.permission.…: permits what can't be issued anyhow
)

// maxConfig bounds a configuration.
const maxConfig = 64 << 20

// A Rewriting is what Rewrite needs besides the configuration.
type Rewriting struct {
	DataDir string   // of the running server
	Sockets string   // a folder for unix sockets
	Storage []string // modules that are storage ("file_system", …); nil: any
	// Keep tells which apps are started; nil: all.
	Keep   func(app string) bool
	Expand func(string) (string, error)
	// Ports picks ports of loopback.
	Ports func(n int) ([]int, error)
	// Loopbacks is how many addresses loopback has: 127.0.0.1 up to 127.0.0.Loopbacks.
	Loopbacks int
}

// A Rewritten configuration is one to rehearse with.
type Rewritten struct {
	Validate []byte // as it is, but for storage and logs: for `validate`
	Run      []byte // to start with
	Left     []string
	Ports    []int // of loopback that Run listens on

	listeners []listener
	original  map[int]int // by port of loopback, the running server's
	tree      map[string]any
}

// A listener is one address of a server, there and here.
type listener struct {
	server    string // its name
	at        address
	running   endpoint
	why       string // it can't be asked, if running is empty
	candidate endpoint
	protocols []string // "h1", "h2", "h2c", "h3"
	redirects bool     // it is automatic HTTPS's, if there is one
}

var defaultProtocols = []string{"h1", "h2", "h3"}

type rewriter struct {
	Rewriting
	out    *Rewritten
	hosts  []string    // in order of their loopback addresses
	ports  map[int]int // of loopback, by the running server's; negative ones stand for none of it
	nobody int         // the last negative one
	unix   int         // sockets so far
}

// Rewrite makes, of the running configuration, those to rehearse with. Any
// input gives an error or valid JSON whose servers listen on loopback, or on
// sockets below r.Sockets, only.
func Rewrite(live []byte, r Rewriting) (*Rewritten, error) {
	w := &rewriter{Rewriting: r, out: &Rewritten{original: map[int]int{}}, ports: map[int]int{}}
	if w.Expand == nil {
		w.Expand = expandEnv
	}
	if w.Loopbacks == 0 {
		w.Loopbacks = 1
		if runtime.GOOS == "linux" {
			w.Loopbacks = 250
		}
	}
	tree, err := decode(live)
	if err != nil {
		return nil, err
	}
	w.neutral(tree)
	if w.out.Validate, err = encode(tree); err != nil {
		return nil, err
	}
	if err := w.start(tree); err != nil {
		return nil, err
	}
	w.out.tree = tree
	if w.out.Run, err = encode(tree); err != nil {
		return nil, err
	}
	return w.out, nil
}

func decode(b []byte) (map[string]any, error) {
	if len(b) > maxConfig {
		return nil, fmt.Errorf("the configuration has %d bytes: more than %d can't be rehearsed", len(b), maxConfig)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree map[string]any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("reading the running configuration: %w", err)
	}
	if _, err := d.Token(); err == nil || !errors.Is(err, io.EOF) {
		return nil, errors.New("reading the running configuration: there is more after it")
	}
	if tree == nil {
		return nil, errNoConfig
	}
	return tree, nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("writing a configuration: %w", err)
	}
	return b.Bytes(), nil
}

// neutral takes from a configuration what would touch the user's files when it
// is provisioned: logs are opened and authorities stored then.
func (w *rewriter) neutral(tree map[string]any) {
	canonical(tree, "admin", "logging", "storage", "apps")
	tree["admin"] = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	if logging := object(tree, "logging"); logging != nil {
		canonical(logging, "logs", "sink")
		for _, l := range objects(object(logging, "logs")) {
			canonical(l, "writer")
			l["writer"] = map[string]any{"output": "discard"}
		}
		if sink := object(logging, "sink"); sink != nil {
			canonical(sink, "writer")
			sink["writer"] = map[string]any{"output": "discard"}
		}
	}
	for _, app := range object(tree, "apps") {
		w.wrapStorages(app)
	}
	real, ok := tree["storage"].(map[string]any)
	if !ok {
		real = map[string]any{"module": "file_system", "root": w.DataDir}
	}
	tree["storage"] = wrapped(storageModule, real)
}

func wrapped(module string, real any) map[string]any {
	return map[string]any{"module": module, "real": real}
}

// wrapStorages wraps every storage below v.
func (w *rewriter) wrapStorages(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, below := range v {
			if s, ok := below.(map[string]any); ok && strings.EqualFold(key, "storage") {
				name, _ := s["module"].(string)
				if name != "" && (w.Storage == nil || slices.Contains(w.Storage, name)) {
					v[key] = wrapped(storageModule, s)
					continue
				}
			}
			w.wrapStorages(below)
		}
	case []any:
		for _, below := range v {
			w.wrapStorages(below)
		}
	}
}

// start makes what is neutral fit to be started beside the running server.
func (w *rewriter) start(tree map[string]any) error {
	tree["logging"] = map[string]any{"logs": map[string]any{"default": map[string]any{
		"writer": map[string]any{"output": "stderr"}, "encoder": map[string]any{"format": "json"}, "level": "INFO",
	}}}
	apps := object(tree, "apps")
	if apps == nil {
		return nil
	}
	for name := range apps {
		if w.Keep != nil && !w.Keep(name) {
			delete(apps, name)
			w.out.Left = append(w.out.Left, name)
		}
	}
	slices.Sort(w.out.Left)
	if events := object(apps, "events"); events != nil {
		canonical(events, "subscriptions")
		delete(events, "subscriptions") // such as commands to execute
	}
	w.certificates(apps)
	return w.move(apps)
}

// certificates makes TLS take certificates from storage, and from nowhere else.
func (w *rewriter) certificates(apps map[string]any) {
	if _, ok := apps["http"]; !ok && apps["tls"] == nil && apps["pki"] == nil {
		return
	}
	tls := made(apps, "tls")
	canonical(tls, "automation", "disable_ocsp_stapling", "disable_storage_check", "disable_storage_clean", "encrypted_client_hello")
	tls["disable_ocsp_stapling"] = true
	tls["disable_storage_check"] = true
	tls["disable_storage_clean"] = true
	delete(tls, "encrypted_client_hello") // which is published
	if automation := object(tls, "automation"); automation != nil {
		canonical(automation, "on_demand", "policies")
		onDemand := automation["on_demand"] != nil
		policies, _ := automation["policies"].([]any)
		for _, v := range policies {
			p, ok := v.(map[string]any)
			if !ok {
				continue
			}
			canonical(p, "disable_ocsp_stapling", "on_demand", "issuers")
			p["disable_ocsp_stapling"] = true
			onDemand = onDemand || p["on_demand"] == true
			issuers, _ := p["issuers"].([]any)
			for i, real := range issuers {
				issuers[i] = wrapped(issuerModule, real)
			}
		}
		if onDemand {
			automation["on_demand"] = map[string]any{"permission": map[string]any{"module": permissionModule}}
		}
	}
	// No root certificate is installed in the system.
	pki := made(apps, "pki")
	canonical(pki, "certificate_authorities")
	authorities := made(pki, "certificate_authorities")
	made(authorities, "local")
	for _, ca := range objects(authorities) {
		canonical(ca, "install_trust")
		ca["install_trust"] = false
	}
}

// canonical renames the keys of an object that Caddy takes for one of the
// names: it decodes without regard to case.
func canonical(m map[string]any, names ...string) {
	for _, name := range names {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if key != name && strings.EqualFold(key, name) {
				if _, both := m[name]; !both {
					m[name] = m[key]
				}
				delete(m, key)
			}
		}
	}
}
