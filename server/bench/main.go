// Command bench measures whole processes: a Caddy with and without the module,
// the collector beside a handler that does nothing, planning, patches between
// real executables of Caddy, and builds beside xcaddy's. Machines are noisy, so
// what is compared runs in turns, and ratios are what counts.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
)

func main() {
	sandbox.Enter()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 1 {
		switch args[0] {
		case "caddy":
			return caddy(ctx)
		case "checks":
			return checks(ctx)
		case "roundtrip": // the process that checks are compared with
			return roundtrip(ctx)
		case "collector":
			return collector(ctx)
		case "deltas":
			return deltas(ctx)
		case "plan":
			return plans(ctx)
		case "builds":
			return builds(ctx)
		case "discard": // the process that the collector is compared with
			return discard(ctx)
		}
	}
	return fmt.Errorf("usage: bench caddy | collector | checks | plan | deltas | builds")
}
