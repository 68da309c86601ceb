//go:build linux || darwin || freebsd

package confine

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// launch becomes the program that the orders name, and doesn't return.
func launch(orders string) {
	// Most limits are of a thread, and hold for what that thread executes.
	runtime.LockOSThread()
	report := os.NewFile(reportFD, "report")
	syscall.CloseOnExec(reportFD)
	tell := func(r Result) {
		if report == nil {
			return
		}
		if b, err := json.Marshal(r); err == nil {
			_, _ = report.Write(b)
		}
	}
	var b Box
	if err := json.Unmarshal([]byte(orders), &b); err != nil {
		tell(Result{Error: fmt.Sprintf("reading the orders: %v", err)})
		os.Exit(1)
	}
	if err := executable(b.Path); err != nil {
		tell(Result{Error: err.Error()})
		os.Exit(1)
	}
	missing, err := limit(b)
	if err != nil {
		tell(Result{Error: "confining it: " + err.Error()})
		os.Exit(1)
	}
	env := append(without(os.Environ(), Variable), b.Env...)
	tell(Result{Missing: missing})
	err = syscall.Exec(b.Path, append([]string{b.Path}, b.Args...), env)
	tell(Result{Missing: missing, Error: err.Error()})
	os.Exit(1)
}

// executable finds out what execve would say, as far as that can be.
func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file (mode %v)", path, info.Mode())
	}
	return nil
}
