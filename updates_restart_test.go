package evergreen

import (
	"testing"
	"testing/fstest"
)

func TestNotRestarted(t *testing.T) {
	const ofCaddy = "0::/system.slice/caddy.service\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no unit":        {map[string]string{"proc/self/cgroup": "0::/user.slice/user-0.slice/session-1.scope\n"}, ""},
		"version 1":      {map[string]string{"proc/self/cgroup": "12:memory:/docker/abc\n"}, ""},
		"no file":        {map[string]string{"proc/self/cgroup": ofCaddy}, ""},
		"Caddy's own":    {map[string]string{"proc/self/cgroup": ofCaddy, "usr/lib/systemd/system/caddy.service": "[Service]\nType=notify\n"}, "caddy.service"},
		"no":             {map[string]string{"proc/self/cgroup": ofCaddy, "usr/lib/systemd/system/caddy.service": "[Service]\nRestart=no\n"}, "caddy.service"},
		"always":         {map[string]string{"proc/self/cgroup": ofCaddy, "usr/lib/systemd/system/caddy.service": "[Service]\nRestart=always\n"}, ""},
		"other section":  {map[string]string{"proc/self/cgroup": ofCaddy, "usr/lib/systemd/system/caddy.service": "[Unit]\nRestart=always\n[Service]\n"}, "caddy.service"},
		"replaced":       {map[string]string{"proc/self/cgroup": ofCaddy, "usr/lib/systemd/system/caddy.service": "[Service]\nRestart=always\n", "etc/systemd/system/caddy.service": "[Service]\n"}, "caddy.service"},
		"drop-in":        {map[string]string{"proc/self/cgroup": ofCaddy, "usr/lib/systemd/system/caddy.service": "[Service]\n", "etc/systemd/system/caddy.service.d/evergreen.conf": "[Service]\nRestart=on-failure\n"}, ""},
		"later drop-in":  {map[string]string{"proc/self/cgroup": ofCaddy, "usr/lib/systemd/system/caddy.service": "[Service]\n", "etc/systemd/system/caddy.service.d/a.conf": "[Service]\nRestart=on-failure\n", "usr/lib/systemd/system/caddy.service.d/b.conf": "[Service]\nRestart=no\n"}, "caddy.service"},
		"masked drop-in": {map[string]string{"proc/self/cgroup": ofCaddy, "usr/lib/systemd/system/caddy.service": "[Service]\n", "etc/systemd/system/caddy.service.d/a.conf": "[Service]\n", "usr/lib/systemd/system/caddy.service.d/a.conf": "[Service]\nRestart=always\n"}, "caddy.service"},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for f, text := range test.files {
				root[f] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := notRestarted(root); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
