package goenv_test

import (
	"testing"

	"github.com/caddy-evergreen/evergreen/server/goenv"
)

func TestGet(t *testing.T) {
	t.Setenv("GOPROXY", "https://proxy.example")
	if got := goenv.Get("GOPROXY"); got != "https://proxy.example" {
		t.Errorf("GOPROXY is %q", got)
	}
	t.Setenv("GOPROXY", "")
	if goenv.Get("GOPROXY") == "" || goenv.Get("GOVERSION") == "" {
		t.Error("the go command's own values are not known")
	}
}
