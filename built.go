package evergreen

import (
	"encoding/json"
	"strings"

	"github.com/caddy-evergreen/evergreen/boot/spec"
	"github.com/caddy-evergreen/evergreen/wire"
)

// BuildSpec is what the build service made this executable from: a mark, and
// the spec as JSON. The program that it generates sets it before this package is
// initialised; in other builds it is empty. debug.ReadBuildInfo does not have all of it: a
// plugin that registers no Caddy module looks like a dependency there.
var BuildSpec = spec.Build

// A buildSpec is the part of BuildSpec that this module uses.
type buildSpec struct {
	Plugins []wire.ModuleVersion `json:"plugins"`
	Service string               `json:"service"` // reported to, and asked
	Root    string               `json:"root"`    // SHA-256 of the root metadata to trust
}

// builtFrom reads BuildSpec. What can't be read is as if it were not there.
func builtFrom(spec string) buildSpec {
	var b buildSpec
	at := strings.IndexByte(spec, '{')
	if at < 0 || json.Unmarshal([]byte(spec[at:]), &b) != nil {
		return buildSpec{}
	}
	return b
}

// plugins are the paths of the modules that were asked for.
func (b buildSpec) plugins() []string {
	var paths []string
	for _, p := range b.Plugins {
		paths = append(paths, p.Path)
	}
	return paths
}
