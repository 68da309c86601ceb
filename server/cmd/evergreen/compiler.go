package main

import (
	"context"
	"errors"

	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/wire"
)

// compiler lets the planner try whether what it plans compiles.
type compiler struct{ maker *build.Maker }

func (c compiler) Compiles(ctx context.Context, roots []wire.ModuleVersion, goVersion string, system wire.System) error {
	err := c.maker.Compiles(ctx, roots, goVersion, system)
	var f *build.Failure
	if errors.As(err, &f) && f.Remember {
		return &plan.CompileError{Words: f.Words}
	}
	return err
}
