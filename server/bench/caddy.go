package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/testbed"
)

const (
	rounds   = 9
	duration = "4s"
)

// caddy runs wrk against a Caddy with the module and one without, in turns.
func caddy(ctx context.Context) error {
	source, err := build.FindSource(".")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "evergreen-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	builder := &build.Builder{Progress: os.Stderr}
	var sides [2]*testbed.Caddy
	for i, without := range []bool{true, false} {
		exe, err := builder.Caddy(ctx, build.Spec{Caddy: "v2.11.9", Source: source, Without: without})
		if err != nil {
			return err
		}
		ports, err := testbed.PickPorts()
		if err != nil {
			return err
		}
		// The endpoint does not answer: reports are made and spooled all the same.
		sides[i], err = testbed.StartCaddy(ctx, exe, filepath.Join(dir, strconv.Itoa(i)), benchSite(ports), ports,
			"EVERGREEN_ENDPOINT=http://127.0.0.1:9", "EVERGREEN_WINDOW=2s", "EVERGREEN_NOTICE=0s", "EVERGREEN_REPORT_EVERY=2s")
		if err != nil {
			return err
		}
		defer sides[i].Kill()
	}
	for _, scheme := range []string{"http", "https"} {
		var ratios []float64
		for round := range rounds {
			var rps [2]float64
			for turn := range sides {
				i := (turn + round) % 2 // each is first as often as second
				if rps[i], err = wrk(ctx, scheme, sides[i]); err != nil {
					return err
				}
			}
			ratios = append(ratios, rps[1]/rps[0])
			fmt.Printf("%s round %d: without %.0f, with %.0f requests/s: %.3f\n", scheme, round+1, rps[0], rps[1], rps[1]/rps[0])
		}
		slices.Sort(ratios)
		fmt.Printf("%s: with/without = %.3f (median of %d paired rounds of %s; second lowest %.3f, second highest %.3f)\n\n",
			scheme, ratios[len(ratios)/2], rounds, duration, ratios[1], ratios[len(ratios)-2])
	}
	return nil
}

func benchSite(p testbed.Ports) string {
	return "{\n" + p.Globals() + "\tauto_https disable_redirects\n}\n" +
		fmt.Sprintf("http://localhost:%d {\n\trespond hello\n}\nhttps://localhost:%d {\n\trespond hello\n}\n", p.HTTP, p.HTTPS)
}

var perSecond = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

func wrk(ctx context.Context, scheme string, c *testbed.Caddy) (float64, error) {
	port := c.Ports.HTTP
	if scheme == "https" {
		port = c.Ports.HTTPS
	}
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c32", "-d"+duration, "-H",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
		fmt.Sprintf("%s://localhost:%d/", scheme, port)).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return 0, errors.New("there is no `wrk` command: install Debian's package wrk")
	}
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	m := perSecond.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("wrk printed no rate:\n%s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
