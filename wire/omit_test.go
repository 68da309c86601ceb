package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

func TestOmit(t *testing.T) {
	for _, m := range Metrics() {
		if m.Kind == KindInstances && omissions[m.ID] == nil && m.ID != InstancesModules && m.ID != InstancesPlugins {
			t.Errorf("%s can't be switched off", m.Name)
		}
	}
	modules := []*Module{{Path: "example.com/dep", Version: "v1.0.0"}, {Path: "example.com/plugin", Version: "v1.0.0", Plugin: true}}
	for name, c := range map[string]struct {
		off  []string
		want *Facts
	}{
		"nothing": {nil, &Facts{Os: "linux", Arch: "amd64", Sites: 3, Modules: modules}},
		"one":     {[]string{"instances.platform"}, &Facts{Sites: 3, Modules: modules}},
		"modules": {[]string{"instances.modules"}, &Facts{Os: "linux", Arch: "amd64", Sites: 3, Modules: modules[1:]}},
		"plugins": {[]string{"instances.plugins"}, &Facts{Os: "linux", Arch: "amd64", Sites: 3, Modules: []*Module{
			{Path: "example.com/dep", Version: "v1.0.0"}, {Path: "example.com/plugin", Version: "v1.0.0"}}}},
		"both":        {[]string{"instances.plugins", "instances.modules"}, &Facts{Os: "linux", Arch: "amd64", Sites: 3}},
		"all of them": {[]string{"instances"}, &Facts{}},
		"no facts":    {[]string{"http"}, &Facts{Os: "linux", Arch: "amd64", Sites: 3, Modules: modules}},
	} {
		f := &Facts{Os: "linux", Arch: "amd64", Sites: 3, Modules: append([]*Module(nil), modules...)}
		f.Omit(c.off)
		if diff := cmp.Diff(c.want, f, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
