package rehearse

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// candidateVariable makes this test's executable a candidate, good or bad as
// its value says: "good" adds nothing. It has a Caddy's commands, and serves what answerSite does.
const candidateVariable = "EVERGREEN_TEST_CANDIDATE"

// rehearserVariable makes this test's executable rehearse, with a Config's
// Live, Scratch and Env as JSON.
const rehearserVariable = "EVERGREEN_TEST_REHEARSER"

type rehearserOrders struct {
	Live    []byte
	Scratch string
	Env     []string
}

func rehearser(text string) {
	var o rehearserOrders
	exe, err := os.Executable()
	if err == nil {
		err = json.Unmarshal([]byte(text), &o)
	}
	if err == nil {
		_, err = Run(context.Background(), Config{Executable: exe, Live: o.Live, Scratch: o.Scratch, Env: o.Env, Private: raceMemory})
	}
	fmt.Println(err)
}

// answerSite is what the running server and a good candidate serve.
func answerSite(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	switch r.URL.Path {
	case "/moved":
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusMovedPermanently)
	case "/random":
		w.Header().Set("Vary", fmt.Sprint(time.Now().UnixNano()))
		fmt.Fprint(w, "never the same")
	default:
		fmt.Fprintf(w, "%s%s", r.Host, r.URL.Path)
	}
}

// childSleeps is how long a bad candidate's child sleeps, in seconds: nothing
// else does so for as long.
const childSleeps = "86397.531"

var siteModules = []string{"http", "http.handlers.static_response", "tls"}

// candidate does what a Caddy does for its arguments, and what its badness
// adds to that.
func candidate(args []string) {
	bad := os.Getenv(candidateVariable)
	die := func(text string) {
		fmt.Fprintln(os.Stderr, text)
		os.Exit(1)
	}
	switch command := args[0]; {
	case bad == "hang "+command:
		time.Sleep(time.Hour)
	case command == "version":
		switch bad {
		case "kernel":
			die("FATAL: kernel too old")
		case "older":
			fmt.Println("v2.11.1 h1:x")
		default:
			fmt.Println("v2.11.9 h1:x")
		}
	case command == "list-modules":
		for i, m := range siteModules {
			if bad != "module" || i != 1 {
				fmt.Println(m)
			}
		}
		fmt.Print("http.handlers.new\n\n  Standard modules: 4\n")
	case command == "validate":
		if b, err := io.ReadAll(os.Stdin); err != nil || !json.Valid(b) || bad == "refuse" {
			die(fmt.Sprintf("Error: unknown field %v", err))
		}
	case command == "run":
		serve(bad, die)
	}
}

func serve(bad string, die func(string)) {
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Listen []string `json:"listen"`
				} `json:"servers"`
			} `json:"http"`
			Needed map[string]any `json:"plugin"`
		} `json:"apps"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&config); err != nil {
		die(err.Error())
	}
	switch bad {
	case "start":
		die("Error: loading initial config: it is a bad day")
	case "flood":
		go func() {
			for {
				fmt.Println(strings.Repeat("flood ", 1000))
			}
		}()
	case "memory":
		go func() {
			var kept [][]byte
			for {
				b := make([]byte, 16<<20)
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
				kept = append(kept, b)
				time.Sleep(time.Millisecond)
				_ = len(kept)
			}
		}()
	case "disk":
		go func() {
			for i := 0; ; i++ {
				_ = os.WriteFile(filepath.Join(os.Getenv("TMPDIR"), fmt.Sprint(i)), make([]byte, 1<<20), 0o600)
			}
		}()
	case "threads":
		for range maxTasks + 1 {
			go func() {
				runtime.LockOSThread()
				select {}
			}()
		}
	case "child":
		// What it starts must not outlive it.
		if err := exec.Command("sleep", childSleeps).Start(); err != nil {
			die(err.Error())
		}
	}
	for _, srv := range config.Apps.HTTP.Servers {
		for _, l := range srv.Listen {
			network, address := "tcp", l
			if path, ok := strings.CutPrefix(l, "unix/"); ok {
				network = "unix"
				address, _, _ = strings.Cut(path, "|")
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				die(err.Error())
			}
			go func() { die(http.Serve(ln, badSite(bad, config.Apps.Needed != nil)).Error()) }()
		}
	}
	fmt.Fprintln(os.Stderr, `{"level":"info","msg":"serving initial configuration"}`)
	select {}
}

// badSite is answerSite, spoiled.
func badSite(bad string, plugin bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case bad == "500" && strings.HasPrefix(r.Host, "b.example"):
			w.WriteHeader(http.StatusInternalServerError)
			return
		case bad == "header" && r.URL.Path == "/moved":
			w.WriteHeader(http.StatusMovedPermanently)
			return
		case bad == "panic":
			go panic("at the first request")
			select {}
		case bad == "abort":
			panic(http.ErrAbortHandler)
		case bad == "needy" && !plugin:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answerSite(w, r)
	}
}

// raceMemory is more private memory than the race detector sets aside.
const raceMemory = 1 << 60
