package evergreen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
)

// A helperRewrite is what the helper's configuration has else than the one that
// it stands in for.
type helperRewrite struct {
	// Sockets is the folder of Unix sockets through which the helper can be asked
	// before it has the ports, "" for none.
	Sockets string
	// Unix tells the number of the inherited descriptor for the path of a Unix
	// socket that a server listens on. The helper accepts from the same queue.
	Unix map[string]int
}

// helperConfig makes the helper's configuration: the same servers and sites, but
// no admin endpoint, nothing saved, and a listener wrapper by which it can be
// asked.
func helperConfig(config []byte, r helperRewrite) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber() // a port or an id must come out as it went in
	var c map[string]any
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("reading the configuration for the helper: %w", err)
	}
	if c == nil {
		c = map[string]any{}
	}
	c["admin"] = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	apps, err := member(c, "apps")
	if err != nil {
		return nil, err
	}
	if apps["evergreen"] == nil {
		// Without an admin endpoint Caddy would not load it by itself.
		apps["evergreen"] = map[string]any{}
	}
	c["apps"] = apps
	if apps["http"] != nil {
		http, err := member(apps, "http")
		if err != nil {
			return nil, err
		}
		servers, err := member(http, "servers")
		if err != nil {
			return nil, err
		}
		for i, name := range serverNames(servers) {
			srv, err := member(servers, name)
			if err != nil {
				return nil, err
			}
			if err := r.rewrite(srv, i); err != nil {
				return nil, fmt.Errorf("server %s: %w", name, err)
			}
		}
	}
	return json.Marshal(c)
}

// member is a member that is an object, or is absent or null: then an empty one.
func member(m map[string]any, name string) (map[string]any, error) {
	switch v := m[name].(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return v, nil
	default:
		return nil, fmt.Errorf("in the configuration %q is no object", name)
	}
}

// serverNames gives servers the numbers that the names of their sockets have.
func serverNames[V any](servers map[string]V) []string {
	return slices.Sorted(maps.Keys(servers))
}

func (r *helperRewrite) rewrite(srv map[string]any, number int) error {
	listen, ok := srv["listen"].([]any)
	if !ok && srv["listen"] != nil {
		return errors.New("its listen is no list")
	}
	for i, l := range listen {
		s, ok := l.(string)
		if !ok {
			return errors.New("an address that it listens on is no string")
		}
		if fd, ok := r.Unix[unixPath(s)]; ok {
			listen[i] = "fd/" + strconv.Itoa(fd)
		}
	}
	if r.Sockets == "" {
		return nil
	}
	var wrappers []json.RawMessage
	if w := srv["listener_wrappers"]; w != nil {
		b, err := json.Marshal(w)
		if err == nil {
			err = json.Unmarshal(b, &wrappers)
		}
		if err != nil {
			return fmt.Errorf("its listener_wrappers: %w", err)
		}
	}
	ours, err := json.Marshal(map[string]string{
		"wrapper": helperWrapper, "socket": filepath.Join(r.Sockets, strconv.Itoa(number)),
	})
	if err != nil {
		return err
	}
	srv["listener_wrappers"] = withWrapper(wrappers, ours)
	return nil
}

// unixPath is the path of the Unix socket that an address means; "" if it means
// another one.
func unixPath(address string) string {
	replaced, err := caddy.NewReplacer().ReplaceOrErr(address, true, true)
	if err != nil {
		return ""
	}
	na, err := caddy.ParseNetworkAddress(replaced)
	if err != nil || na.Network != "unix" {
		return ""
	}
	return withoutMode(na.Host)
}
