// Server stands for a Caddy in the tests of package boot: it says what it is, as
// JSON, and does what the environment asks for. It is built with Caddy's module,
// for its version, and not with Caddy.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	_ "github.com/caddyserver/caddy/v2/notify"

	"github.com/caddy-evergreen/evergreen/boot"
)

// A said is what a process says of itself.
type said struct {
	PID       int
	Slot      string
	Installed string
	Refused   string
	Late      string
	Args      []string
	Internal  []string // variables that children would inherit
	Ambient   string   // capabilities, hexadecimal
	Effective string
}

func init() {
	if boot.Current().Slot == "" {
		return
	}
	does := os.Getenv("SLOT_DOES")
	if does == "crash in run" && os.Args[1] == "run" {
		does = "crash"
	}
	switch does {
	case "hang":
		select {}
	case "spin":
		for {
		}
	case "crash":
		panic("the slot crashes when it is initialised")
	}
}

func main() {
	data := boot.DataDir(os.Getenv)
	s := said{PID: os.Getpid(), Args: os.Args[1:]}
	if name, ok := os.LookupEnv("LATE_ROOT"); ok {
		root, _ := os.ReadFile(name)
		if len(root) == 0 {
			root = nil
		}
		if err := boot.Late(data, root); err != nil {
			s.Late = err.Error()
		}
	}
	p := boot.Current()
	s.Slot, s.Installed = p.Slot, p.Installed
	if p.Refused != nil {
		s.Refused = p.Refused.Error()
	}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "EVERGREEN_INTERNAL_") {
			s.Internal = append(s.Internal, v)
		}
	}
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		name, value, _ := strings.Cut(line, ":\t")
		switch name {
		case "CapAmb":
			s.Ambient = value
		case "CapEff":
			s.Effective = value
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if os.Args[len(os.Args)-1] != "run" {
		return
	}
	switch os.Getenv("THEN") {
	case "up":
		boot.Up(data)
		select {} // until the test ends it
	case "up and down":
		boot.Up(data)
		boot.Down(data)
	}
}
