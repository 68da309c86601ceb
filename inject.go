package evergreen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(httpLoaderInfo{})
}

var (
	// errUserConfig is that the http app fails to provision, most likely for
	// what the user wrote: Caddy then reports it from the user's own JSON.
	errUserConfig = errors.New("provisioning the http app")

	errLoadedBefore = errors.New("Caddy has loaded the http app before this module; use Caddy 2.11.3 or newer with the admin endpoint on")
)

// appKey is the context key under which our modules inside the http app find
// the App that injected them. Without it they do nothing.
type appKey struct{}

// inject loads the http app with our handler and listener wrapper in it, before
// Caddy does, and returns it with the names of the user's servers. It returns
// nil if none is configured.
//
// Caddy's own JSON is only read. The app is provisioned under a module of ours
// first and handed to Caddy only when that has succeeded: Caddy remembers the
// failure of an app for good, and would otherwise report the error of our
// attempt, not the user's.
func (a *App) inject() (*caddyhttp.App, map[string]bool, error) {
	raw, loaded, err := configuredApp(a.ctx, "http")
	switch {
	case err != nil:
		return nil, nil, err
	case loaded:
		return nil, nil, errLoadedBefore
	case len(raw) == 0:
		return nil, nil, nil
	}
	ctx := a.ctx
	ctx.Context = context.WithValue(ctx.Context, appKey{}, a)
	v, err := ctx.LoadModuleByID(string(httpLoaderInfo{}.CaddyModule().ID), raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errUserConfig, err)
	}
	loader := v.(*httpLoader)
	var app *caddyhttp.App
	err = guard("hand the http app over", func() error {
		if _, loaded, err := configuredApp(a.ctx, "http"); err != nil || loaded {
			return errors.Join(err, errors.New("another module loaded the http app while it was provisioned"))
		}
		// An app without servers, to which Caddy holds the pointer; then the
		// real one's fields take its place.
		v, err := a.ctx.LoadModuleByID("http", json.RawMessage(`{}`))
		if err != nil {
			return err
		}
		app = v.(*caddyhttp.App)
		*app = *loader.app
		return nil
	})
	if err != nil {
		_ = guard("discard the http app", loader.app.Cleanup)
		return nil, nil, err
	}
	return app, loader.names, nil
}

// httpLoader stands in for the http app while that is provisioned. Its id is
// http's, so that loggers have the names that the user's configuration expects.
type httpLoader struct {
	app   *caddyhttp.App
	names map[string]bool
}

func (httpLoader) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http", New: func() caddy.Module { return new(httpLoader) }}
}

// httpLoaderInfo registers httpLoader under an id of its own.
type httpLoaderInfo struct{}

func (httpLoaderInfo) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "evergreen.http", New: func() caddy.Module { return new(httpLoader) }}
}

func (l *httpLoader) UnmarshalJSON(b []byte) error {
	l.app = new(caddyhttp.App)
	if err := caddy.StrictUnmarshalJSON(b, l.app); err != nil {
		return err
	}
	l.names = make(map[string]bool, len(l.app.Servers))
	for name := range l.app.Servers {
		l.names[name] = true
	}
	return nil
}

func (l *httpLoader) Provision(ctx caddy.Context) error {
	a, ok := ctx.Value(appKey{}).(*App)
	if !ok || l.app == nil {
		return errors.New("evergreen.http is this module's own and can't be configured")
	}
	a.httpPort = l.app.HTTPPort
	if a.httpPort == 0 {
		a.httpPort = caddyhttp.DefaultHTTPPort
	}
	for _, srv := range l.app.Servers {
		if srv == nil {
			return errors.New("a server is null")
		}
		srv.ListenerWrappersRaw = withWrapper(srv.ListenerWrappersRaw, json.RawMessage(`{"wrapper":"evergreen"}`))
	}
	if err := guard("provision the http app", func() error { return l.app.Provision(ctx) }); err != nil {
		_ = guard("discard the http app", l.app.Cleanup) // as Caddy would
		return err
	}
	return nil
}

func (l *httpLoader) Validate() error {
	if err := l.app.Validate(); err != nil {
		_ = guard("discard the http app", l.app.Cleanup)
		return err
	}
	return nil
}

// withWrapper puts a listener wrapper of ours directly before TLS: before the tls
// placeholder, or first with the placeholder after it where the user has none,
// as Caddy then takes TLS to come before all wrappers. A placeholder in the
// first place is an error of the user's, which stays.
func withWrapper(wrappers []json.RawMessage, ours json.RawMessage) []json.RawMessage {
	tls := json.RawMessage(`{"wrapper":"tls"}`)
	i := slices.IndexFunc(wrappers, func(raw json.RawMessage) bool {
		var w struct {
			Wrapper string `json:"wrapper"`
		}
		return json.Unmarshal(raw, &w) == nil && w.Wrapper == "tls"
	})
	switch {
	case i == 0:
		return wrappers
	case i > 0:
		return slices.Insert(slices.Clone(wrappers), i, ours)
	}
	return append([]json.RawMessage{ours, tls}, wrappers...)
}

// configuredApp reads an app's JSON in the configuration being loaded, and
// whether Caddy has made the app already.
func configuredApp(ctx caddy.Context, name string) (raw []byte, loaded bool, err error) {
	cfg, err := config(ctx)
	if err != nil {
		return nil, false, err
	}
	key := reflect.ValueOf(name)
	apps, raws := cfg.FieldByName("apps"), cfg.FieldByName("AppsRaw")
	if apps.Kind() != reflect.Map || raws.Kind() != reflect.Map {
		return nil, false, errors.New("this Caddy keeps its apps elsewhere")
	}
	if apps.MapIndex(key).IsValid() {
		return nil, true, nil
	}
	if v := raws.MapIndex(key); v.IsValid() {
		raw = slices.Clone(v.Bytes())
	}
	return raw, false, nil
}

// config is the configuration that ctx belongs to. It is unexported: only
// looked at, by reflection.
func config(ctx caddy.Context) (reflect.Value, error) {
	cfg := reflect.ValueOf(ctx).FieldByName("cfg")
	if cfg.Kind() != reflect.Pointer || cfg.IsNil() || cfg.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, errors.New("this Caddy keeps its configuration elsewhere")
	}
	return cfg.Elem(), nil
}

// readConfig writes the configuration that is being loaded as JSON. What Caddy
// has loaded before it calls us is missing in it.
func readConfig(ctx caddy.Context) ([]byte, error) {
	cfg, err := config(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(plain(cfg, 0))
}

var rawMessage = reflect.TypeFor[json.RawMessage]()

// plain turns a value that may be read but not taken out into maps and lists.
func plain(v reflect.Value, depth int) any {
	if depth > 20 {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return plain(v.Elem(), depth+1)
		}
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.IsExported() && name != "" && name != "-" && !v.Field(i).IsZero() {
				m[name] = plain(v.Field(i), depth+1)
			}
		}
		return m
	case reflect.Map:
		m := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			if it.Key().Kind() == reflect.String {
				m[it.Key().String()] = plain(it.Value(), depth+1)
			}
		}
		return m
	case reflect.Slice:
		if v.Type() == rawMessage {
			if raw := v.Bytes(); json.Valid(raw) {
				return json.RawMessage(slices.Clone(raw))
			}
			return nil
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i), depth+1)
		}
		return list
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint()
	case reflect.Float32, reflect.Float64:
		return v.Float()
	}
	return nil
}
