//go:build ignore

// Program embedsource writes the source of the root module, in whose folder it
// is run, to a zip: `make evergreen` embeds that in the server.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/caddy-evergreen/evergreen/server/build"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "embedsource:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("name the file to write")
	}
	src, err := build.ReadSource(os.DirFS("."))
	if err != nil {
		return err
	}
	f, err := os.Create(os.Args[1])
	if err != nil {
		return err
	}
	return errors.Join(src.WriteZip(f), f.Close())
}
