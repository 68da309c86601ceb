package evergreen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	// maxSwitchConfig bounds a configuration that is handed on.
	maxSwitchConfig = 256 << 20

	// adaptTimeout bounds `candidate adapt`.
	adaptTimeout = time.Minute
)

var errNotRun = errors.New("only a Caddy that was started by `caddy run` or `caddy start` can be switched")

// A nextStart is how the next executable starts.
type nextStart struct {
	live   []byte // the configuration that runs, as /config/ has it
	config []byte // what the next executable will load
	flags  runFlags
	args   []string // that it goes by; nil: as this process was started
	file   string   // written for it: removed if the switch fails
}

func (n *nextStart) discard() {
	if n.file != "" {
		_ = os.Remove(n.file)
	}
}

// planStart finds out what the next executable would load if it were started as
// this process was, and makes it load the running configuration where that is
// another one: changed through the API, read from standard input, or a file that
// was edited and not loaded.
func planStart(ctx context.Context, next string) (*nextStart, error) {
	if len(started.args) < 2 || started.args[1] != "run" {
		return nil, errNotRun
	}
	live, err := liveConfig(ctx)
	if err != nil {
		return nil, err
	}
	n := &nextStart{live: live, config: live}
	if n.flags, err = parseRun(started.args[2:]); err != nil {
		return nil, err
	}
	given, adapter, err := n.flags.configuration()
	same := err == nil && sameJSON(given, live)
	switch {
	case same && adapter != "":
		// The candidate's adapter may make something else of the same file, or nothing.
		if adapted, adaptErr := adaptWith(ctx, next, n.flags.file(), adapter); adaptErr == nil {
			n.config = adapted
		} else {
			same = false
		}
	case !same && n.flags.watch:
		return nil, fmt.Errorf("the configuration that runs is not the one in the watched file %s, or that can't be loaded: mend the file, and the update is tried again", n.flags.config)
	}
	if !same {
		if n.file, err = writeConfig(live); err != nil {
			return nil, err
		}
		n.args = n.flags.args(n.file)
	} else if n.flags.pingback != "" {
		// The `caddy start` that waits for it has ended long ago.
		n.args = n.flags.args("")
	}
	return n, nil
}

// planAnew is a start as this process's was, whatever runs now.
func planAnew() (*nextStart, error) {
	if len(started.args) < 2 || started.args[1] != "run" {
		return nil, errNotRun
	}
	f, err := parseRun(started.args[2:])
	if err != nil {
		return nil, err
	}
	given, _, err := f.configuration()
	if err != nil {
		return nil, err
	}
	n := &nextStart{live: given, config: given, flags: f}
	if f.pingback != "" {
		n.args = f.args("")
	}
	return n, nil
}

// environ is the environment of the next executable. boots is what package boot
// tells it.
func (n *nextStart) environ(boots string, l leftOver) []string {
	env := append([]string(nil), started.env...)
	l.Args, l.Config = n.args, n.file
	if b, err := json.Marshal(l); err == nil {
		env = append(env, envSwitch+"="+string(b))
	}
	return append(env, boots)
}

// runFlags are the flags of `caddy run`.
type runFlags struct {
	set             *pflag.FlagSet
	program         string
	config, adapter string
	resume, watch   bool
	pingback        string
	envfiles        []string
}

// parseRun reads arguments by the flags that this Caddy's `run` declares.
func parseRun(args []string) (runFlags, error) {
	run, ok := caddycmd.Commands()["run"]
	if !ok || run.CobraFunc == nil {
		return runFlags{}, errors.New("this Caddy declares the flags of `run` elsewhere")
	}
	var cmd cobra.Command
	run.CobraFunc(&cmd)
	if err := cmd.ParseFlags(args); err != nil {
		return runFlags{}, fmt.Errorf("reading the arguments that Caddy was started with: %w", err)
	}
	f := runFlags{set: cmd.Flags(), program: started.args[0]}
	f.config, _ = f.set.GetString("config")
	f.adapter, _ = f.set.GetString("adapter")
	f.resume, _ = f.set.GetBool("resume")
	f.watch, _ = f.set.GetBool("watch")
	f.pingback, _ = f.set.GetString("pingback")
	f.envfiles, _ = f.set.GetStringSlice("envfile")
	return f, nil
}

// file is the configuration file that the flags name, or the Caddyfile in the
// working directory.
func (f *runFlags) file() string {
	if f.config == "" {
		return "Caddyfile"
	}
	return f.config
}

// configuration is what a start with these flags would load, and by which
// adapter; no adapter for JSON.
func (f *runFlags) configuration() (config []byte, adapter string, err error) {
	if f.resume {
		config, err = os.ReadFile(caddy.ConfigAutosavePath)
		if !errors.Is(err, fs.ErrNotExist) {
			return config, "", err
		}
	}
	if f.config == "-" {
		return nil, "", errors.New("the configuration came from standard input, which can be read once")
	}
	config, _, adapter, err = caddycmd.LoadConfig(f.config, f.adapter)
	if err == nil && len(config) == 0 {
		config = []byte("null")
	}
	if adapter == "" && f.config == "" && err == nil && !bytes.Equal(config, []byte("null")) {
		adapter = "caddyfile" // an adjacent Caddyfile: LoadConfig does not say
	}
	return config, adapter, err
}

// args are the arguments that make a start load a JSON file in place of what the
// flags name. Without a file they are the flags, less what was meant for the
// first start alone.
func (f *runFlags) args(file string) []string {
	args := []string{f.program, "run"}
	f.set.Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "pingback":
			return
		case "config", "adapter", "resume", "watch":
			if file != "" {
				return
			}
		}
		if values, ok := flag.Value.(pflag.SliceValue); ok {
			for _, v := range values.GetSlice() {
				args = append(args, "--"+flag.Name+"="+v)
			}
			return
		}
		args = append(args, "--"+flag.Name+"="+flag.Value.String())
	})
	if file != "" {
		args = append(args, "--config="+file)
	}
	return args
}

// adaptWith lets an executable adapt a configuration file.
func adaptWith(ctx context.Context, executable, file, adapter string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, adaptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, executable, "adapt", "--config", file, "--adapter", adapter)
	var out, errs limitedBuffer
	out.max, errs.max = maxSwitchConfig, 4<<10
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s adapt: %w: %s", executable, err, errs.Bytes())
	}
	if !json.Valid(out.Bytes()) {
		return nil, fmt.Errorf("%s adapt prints no JSON", executable)
	}
	return out.Bytes(), nil
}

// limitedBuffer keeps the first bytes that are written to it.
type limitedBuffer struct {
	bytes.Buffer
	max int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := b.max - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// writeConfig writes a configuration where only this user can read it: there
// may be secrets in it.
func writeConfig(config []byte) (string, error) {
	dir := filepath.Join(caddy.AppDataDir(), "evergreen", "updates", "switch")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a folder for the configuration: %w", err)
	}
	f, err := os.CreateTemp(dir, "*.json") // 0600
	if err != nil {
		return "", fmt.Errorf("writing the configuration for the next executable: %w", err)
	}
	_, err = f.Write(config)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("writing the configuration for the next executable: %w", err)
	}
	return f.Name(), nil
}

// running tells configurations apart: it is another number for each that Caddy
// has loaded, and 0 while none runs.
func running() uintptr {
	cfg := reflect.ValueOf(caddy.ActiveContext()).FieldByName("cfg")
	if cfg.Kind() != reflect.Pointer {
		return 0
	}
	return cfg.Pointer()
}

// liveConfig is the running configuration as /config/ has it. With the admin
// endpoint off nothing can have changed it but its file.
func liveConfig(ctx context.Context) ([]byte, error) {
	if running() == 0 {
		return nil, errors.New("Caddy runs no configuration")
	}
	address, off, err := adminListen()
	if err != nil {
		return nil, err
	}
	if !off {
		return askConfig(ctx, address)
	}
	f, err := parseRun(started.args[2:])
	if err != nil {
		return nil, err
	}
	given, _, err := f.configuration()
	if err != nil {
		return nil, fmt.Errorf("the running configuration can't be had, as the admin endpoint is off, and its file can't be loaded: %w", err)
	}
	return given, nil
}

// adminListen is the admin endpoint's address.
func adminListen() (address string, off bool, err error) {
	cfg, err := config(caddy.ActiveContext())
	if err != nil {
		return "", false, err
	}
	v := cfg.FieldByName("Admin")
	if !v.IsValid() || v.Kind() != reflect.Pointer || v.IsNil() {
		return caddy.DefaultAdminListen, false, nil
	}
	off = v.Elem().FieldByName("Disabled").Bool()
	address, err = caddy.NewReplacer().ReplaceOrErr(v.Elem().FieldByName("Listen").String(), true, true)
	if address == "" {
		address = caddy.DefaultAdminListen
	}
	return address, off, err
}

// remoteAdminListen is the remote admin endpoint's address; "" if there is none.
func remoteAdminListen() string {
	cfg, err := config(caddy.ActiveContext())
	if err != nil {
		return ""
	}
	v := cfg.FieldByName("Admin")
	if !v.IsValid() || v.Kind() != reflect.Pointer || v.IsNil() {
		return ""
	}
	v = v.Elem().FieldByName("Remote")
	if !v.IsValid() || v.Kind() != reflect.Pointer || v.IsNil() {
		return ""
	}
	address, err := caddy.NewReplacer().ReplaceOrErr(v.Elem().FieldByName("Listen").String(), true, true)
	if err != nil || address == "" {
		return caddy.DefaultRemoteAdminListen
	}
	return address
}

func askConfig(ctx context.Context, address string) ([]byte, error) {
	type answer struct {
		config []byte
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.err = guard("read the running configuration", func() error {
			resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, "/config/", nil, nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			a.config, err = io.ReadAll(io.LimitReader(resp.Body, maxSwitchConfig))
			return err
		})
		done <- a
	}()
	select {
	case a := <-done:
		if a.err == nil && !json.Valid(a.config) {
			a.err = errors.New("the admin endpoint's answer is no JSON")
		}
		return bytes.TrimSpace(a.config), a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(adaptTimeout):
		return nil, fmt.Errorf("the admin endpoint at %s does not answer", strings.TrimSpace(address))
	}
}

// sameJSON tells whether two documents mean the same.
func sameJSON(a, b []byte) bool {
	var va, vb any
	return json.Unmarshal(a, &va) == nil && json.Unmarshal(b, &vb) == nil && reflect.DeepEqual(va, vb)
}
