package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-evergreen/evergreen/server/rollout"
	"github.com/caddy-evergreen/evergreen/wire"
)

const rolloutAbout = `Brings a release to a share of all instances, which you raise step by step. A
release without a rollout is offered to everybody. SHARE is 5% or 0.05.`

func rolloutCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return runVerb(ctx, "rollout", rolloutAbout, rolloutVerbs(), args, stdout, stderr)
}

func rolloutVerbs() map[string]verb {
	return map[string]verb{
		"create": {"MODULE@VERSION SHARE", "begin: only this share of instances is offered the release", rolloutCreate},
		"ramp":   {"ID SHARE", "raise the share", rolloutRamp},
		"pause":  {"ID", "offer the release to nobody for now", rolloutStep},
		"resume": {"ID", "go on after a pause", rolloutStep},
		"stop":   {"ID", "offer the release to nobody, for good", rolloutStep},
		"status": {"[ID]", "list rollouts, or show one with what was done to it", rolloutStatus},
	}
}

// parseShare reads "5%" or "0.05".
func parseShare(s string) (float64, error) {
	number, percent := strings.CutSuffix(s, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) {
		return 0, fmt.Errorf("share is %.20q: write a part of all instances, such as 5%% or 0.05: %w", s, errUsage)
	}
	return share, nil
}

func rolloutCreate(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "rollout", name, rolloutVerbs()[name], stderr)
	why := fs.String("why", "", "for the history, as `TEXT`")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return fmt.Errorf("create takes MODULE@VERSION and SHARE: %w", errUsage)
	}
	path, version, err := moduleVersion(name, rest[:1])
	if err != nil {
		return err
	}
	share, err := parseShare(rest[1])
	if err != nil {
		return err
	}
	return c.rollout(ctx, stdout, "", rollout.Creation{Path: path, Version: version, Share: share, Why: *why})
}

func rolloutRamp(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "rollout", name, rolloutVerbs()[name], stderr)
	why := fs.String("why", "", "for the history, as `TEXT`")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return fmt.Errorf("ramp takes ID and SHARE: %w", errUsage)
	}
	share, err := parseShare(rest[1])
	if err != nil {
		return err
	}
	return c.rollout(ctx, stdout, rest[0], rollout.Step{Do: name, Share: share, Why: *why})
}

// rolloutStep does what takes nothing but an id.
func rolloutStep(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "rollout", name, rolloutVerbs()[name], stderr)
	why := fs.String("why", "", "for the history, as `TEXT`")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return fmt.Errorf("%s takes ID, as `evergreen rollout status` lists it: %w", name, errUsage)
	}
	return c.rollout(ctx, stdout, rest[0], rollout.Step{Do: name, Why: *why})
}

// rollout changes one, or begins it, and prints it.
func (c *client) rollout(ctx context.Context, w io.Writer, id string, body any) error {
	path := wire.PathRollouts
	if id != "" {
		path += "/" + id
	}
	var o rollout.Rollout
	if err := c.post(ctx, path, body, &o); err != nil {
		return err
	}
	if c.json {
		return writeJSON(w, o)
	}
	return printRollout(w, o)
}

func rolloutStatus(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "rollout", name, rolloutVerbs()[name], stderr)
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	switch len(rest) {
	case 0:
		var l rollout.Listing
		if err := c.get(ctx, wire.PathRollouts, nil, &l); err != nil {
			return err
		}
		if c.json {
			return writeJSON(stdout, l)
		}
		w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tRELEASE\tSHARE\tSTATE\tCHANGED")
		for _, o := range l.Rollouts {
			fmt.Fprintf(w, "%s\t%s@%s\t%.4g%%\t%s\t%s\n", printable(o.ID), printable(o.Path), printable(o.Version), 100*o.Share, printable(string(o.State)), o.Changed.Format(time.RFC3339))
		}
		return w.Flush()
	case 1:
		var o rollout.Rollout
		if err := c.get(ctx, wire.PathRollouts+"/"+rest[0], nil, &o); err != nil {
			return err
		}
		if c.json {
			return writeJSON(stdout, o)
		}
		return printRollout(stdout, o)
	}
	return fmt.Errorf("status takes at most one ID: %w", errUsage)
}

func printRollout(to io.Writer, o rollout.Rollout) error {
	fmt.Fprintf(to, "%s  %s@%s  %.4g%% of instances, %s\n", printable(o.ID), printable(o.Path), printable(o.Version), 100*o.Share, printable(string(o.State)))
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	for _, e := range o.History {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%.4g%%\t%s\n", e.Time.Format(time.RFC3339), printable(e.What), printable(e.By), 100*e.Share, printable(e.Why))
	}
	return w.Flush()
}
