package inventory

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/wire"
)

// modulesUsed adds to used the id of every Caddy module that the configuration
// calls for; "other" stands for those that are not Caddy's own.
//
// Where modules stand in a configuration is written in the types that it is
// decoded into: in a field's `caddy:"namespace=… inline_key=…"` tag, which is
// what Caddy's own documentation is made from. Following the types finds the
// modules of plugins too, and never takes a value that looks like a module's
// name for one.
func modulesUsed(config any, used map[string]bool) {
	w := walker{used: used, types: map[string]reflect.Type{}}
	w.value(config, reflect.TypeFor[caddy.Config](), 0)
}

type walker struct {
	used  map[string]bool
	types map[string]reflect.Type // of the modules met so far; nil: not compiled in
}

var (
	moduleMapType   = reflect.TypeFor[caddy.ModuleMap]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
)

// value follows a decoded value of type t to the modules in it.
func (w *walker) value(v any, t reflect.Type, depth int) {
	if v == nil || depth > maxDepth {
		return
	}
	t = structOf(t)
	if t == nil {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		w.structure(v, t, depth)
	case reflect.Slice, reflect.Array:
		for _, e := range list(v) {
			w.value(e, t.Elem(), depth+1)
		}
	case reflect.Map:
		for _, e := range object(v) {
			w.value(e, t.Elem(), depth+1)
		}
	}
}

func (w *walker) structure(v any, t reflect.Type, depth int) {
	own := reflect.PointerTo(t).Implements(unmarshalerType)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		tag, isModule := f.Tag.Lookup("caddy")
		namespace, inline, ok := moduleTag(tag)
		isModule = isModule && ok
		switch {
		case name == "-" && isModule && own:
			// A type that decodes itself into the field, such as the matcher
			// `not`: the whole value is the field's.
			w.modules(v, f.Type, namespace, inline, depth+1)
		case name == "-":
		case f.Anonymous && name == "":
			w.value(v, f.Type, depth+1)
		case !f.IsExported():
		default:
			if name == "" {
				name = f.Name
			}
			child := field(v, name)
			if child == nil {
				continue
			}
			if isModule {
				w.modules(child, f.Type, namespace, inline, depth+1)
			} else {
				w.value(child, f.Type, depth+1)
			}
		}
	}
}

// modules follows the value of a field that holds modules: one, a list, a map of
// names to modules, or nested forms of these.
func (w *walker) modules(v any, t reflect.Type, namespace, inline string, depth int) {
	if depth > maxDepth {
		return
	}
	switch {
	case t == moduleMapType || (inline == "" && t.Kind() == reflect.Map):
		for name, e := range object(v) {
			w.module(namespace, name, e, depth+1)
		}
	case t == rawType:
		if name, ok := field(v, inline).(string); ok && inline != "" {
			w.module(namespace, name, v, depth+1)
		}
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		for _, e := range list(v) {
			w.modules(e, t.Elem(), namespace, inline, depth+1)
		}
	case t.Kind() == reflect.Map:
		for _, e := range object(v) {
			w.modules(e, t.Elem(), namespace, inline, depth+1)
		}
	}
}

// module takes note of one module and follows its own configuration.
func (w *walker) module(namespace, name string, v any, depth int) {
	id := name
	if namespace != "" {
		id = namespace + "." + name
	}
	t, seen := w.types[id]
	if !seen {
		safely(func() { // New is the plugin's own code
			if info, err := caddy.GetModule(id); err == nil {
				t = reflect.TypeOf(info.New())
			}
		})
		w.types[id] = t
	}
	if t == nil {
		return // not a module of this Caddy: its name is a value like any other
	}
	if structOf(t).PkgPath() != evergreenPath { // who reports has us anyway
		w.used[named(wire.Feature, id)] = true
	}
	w.value(v, t, depth)
}

// moduleTag reads `namespace=a.b inline_key=c`.
func moduleTag(tag string) (namespace, inline string, ok bool) {
	for part := range strings.FieldsSeq(tag) {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "namespace":
			namespace, ok = v, true
		case "inline_key":
			inline = v
		}
	}
	return namespace, inline, ok
}
