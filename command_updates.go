package evergreen

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

func applyCommand(s *shared) *cobra.Command {
	var version string
	var detach bool
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Installs the update that there is, now",
		Long: `Has the running Caddy install what the update service offers it: at once, without
waiting for a maintenance window or a rollout, whatever the scope, and also what
failed here before. It is downloaded, verified, rehearsed, switched to and
watched as always; and if it fails, Caddy goes on with what it runs.

The command shows how it goes until it has ended. Ctrl-C ends only the command.`,
		Example: `  $ caddy evergreen apply
  $ caddy evergreen apply --version v2.11.9 --detach`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := json.Marshal(applyRequest{version})
			if err != nil {
				return err
			}
			return s.follow(cmd, "apply", request, detach)
		},
	}
	cmd.Flags().StringVarP(&version, "version", "", "", "Version of Caddy that it must be, such as v2.11.9; otherwise nothing is done")
	cmd.Flags().BoolVarP(&detach, "detach", "", false, "Don't wait for its end")
	return cmd
}

func rollbackCommand(s *shared) *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Goes back to what ran before the last update",
		Long: `Has the running Caddy become what ran before the last update again, by the same
switch, without a dropped request. What runs now is not installed again by
itself; 'caddy evergreen apply' would.`,
		Example: `  $ caddy evergreen rollback`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.follow(cmd, "rollback", nil, detach)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "", false, "Don't wait for its end")
	return cmd
}

func pauseCommand(s *shared) *cobra.Command {
	return &cobra.Command{
		Use:   "pause",
		Short: "Keeps updates from being installed, until 'resume'",
		Long: `Keeps the running Caddy from installing updates, over restarts as well, until
'caddy evergreen resume'. Updates are still told of, an update that is being
watched is watched to its end, and 'caddy evergreen apply' still works.

Without an admin API, an empty file 'evergreen/updates/paused' in Caddy's data
directory does the same.`,
		Example: `  $ caddy evergreen pause`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := json.Marshal(pauseRequest{whoami()})
			if err != nil {
				return err
			}
			return s.changeUpdates(cmd, "pause", request)
		},
	}
}

func resumeCommand(s *shared) *cobra.Command {
	return &cobra.Command{
		Use:     "resume",
		Short:   "Lets updates be installed again after 'pause'",
		Long:    "Ends 'caddy evergreen pause'. That nothing was paused is no error.",
		Example: `  $ caddy evergreen resume`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.changeUpdates(cmd, "resume", nil)
		},
	}
}

// whoami names the person for others to see, as well as it can.
func whoami() string {
	name := "someone"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" && sudo != name {
		name = sudo + " as " + name
	}
	return name[:min(len(name), 200)]
}

func (s *shared) changeUpdates(cmd *cobra.Command, path string, request []byte) error {
	body, err := s.ask(http.MethodPost, path, request)
	if err != nil || s.json {
		return show(cmd.OutOrStdout(), body, err)
	}
	var d doneDocument
	if err := json.Unmarshal(body, &d); err != nil {
		return fmt.Errorf("reading Caddy's answer: %w", err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.ToUpper(d.Done[:min(1, len(d.Done))])+d.Done[min(1, len(d.Done)):]+".")
	return err
}

// follow begins an update or the way back and shows how it goes.
func (s *shared) follow(cmd *cobra.Command, path string, request []byte, detach bool) error {
	before, err := s.updatesNow()
	if err != nil {
		return err
	}
	if detach {
		return s.changeUpdates(cmd, path, request)
	}
	if _, err := s.ask(http.MethodPost, path, request); err != nil {
		return err
	}
	progress := cmd.ErrOrStderr()
	end, err := s.watch(cmd.Context(), before, func(line string) { fmt.Fprintln(progress, line) })
	if err != nil {
		return err
	}
	if s.json {
		body, err := json.Marshal(end)
		if err := show(cmd.OutOrStdout(), body, err); err != nil {
			return err
		}
	}
	return concluded(cmd.OutOrStdout(), path, end, s.json)
}

// concluded says how an attempt ended; one that did not end as was wanted is an
// error.
func concluded(out io.Writer, path string, d updatesDocument, quiet bool) error {
	o := d.Last
	if o == nil {
		return errors.New("nothing was done: 'caddy evergreen status' tells more")
	}
	switch {
	case o.State == updater.Healthy, path == "rollback" && o.State == updater.RolledBack:
		if quiet {
			return nil
		}
		_, err := fmt.Fprintf(out, "%s.\n", outcomeText(*o))
		return err
	}
	return fmt.Errorf("%s; what runs serves on", outcomeText(*o))
}

func (s *shared) updatesNow() (d updatesDocument, err error) {
	body, err := s.ask(http.MethodGet, "updates", nil)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return d, fmt.Errorf("reading Caddy's answer: %w", err)
	}
	return d, nil
}

// unreachable is how long the admin API may be silent while the process becomes
// another executable.
const unreachable = 3 * time.Minute

// watch says how an attempt goes until it has ended.
func (s *shared) watch(ctx context.Context, before updatesDocument, say func(string)) (updatesDocument, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	said, silent := "", time.Time{}
	for {
		d, err := s.updatesNow()
		switch {
		case err == nil:
			silent = time.Time{}
			if line := progressText(d); line != said {
				say(line)
				said = line
			}
			if d.Last != nil && (before.Last == nil || !d.Last.Ended.Equal(before.Last.Ended)) {
				return d, nil
			}
		case silent.IsZero():
			silent = time.Now()
		case time.Since(silent) > unreachable:
			return d, err
		}
		select {
		case <-ctx.Done():
			return d, context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
}

func progressText(d updatesDocument) string {
	line := string(d.State)
	if d.Candidate != nil && d.Candidate.Version != "" {
		line += " " + d.Candidate.Version
	}
	if d.Waiting != "" {
		line += ": " + d.Waiting
	}
	return line
}

// outcomeText is an outcome in a line.
func outcomeText(o updater.Outcome) string {
	from, to := cmp.Or(o.From, "what ran before"), cmp.Or(o.To, "another build")
	var text string
	switch o.State {
	case updater.Healthy:
		text = fmt.Sprintf("updated from %s to %s", from, to)
	case updater.RolledBack:
		text = fmt.Sprintf("back from %s to %s", to, from)
	default:
		text = fmt.Sprintf("the update from %s to %s failed", from, to)
		if o.Step != "" {
			text += " while " + stepWords[o.Step]
		}
	}
	if o.Why != "" {
		text += ": " + o.Why
	}
	return text
}

// stepWords complete "failed while …".
var stepWords = map[updater.State]string{
	updater.Idle: "idle", updater.Checked: "preparing", updater.Downloading: "downloading", updater.Verified: "waiting for its time",
	updater.Rehearsing: "rehearsing", updater.Switching: "switching", updater.Watching: "being watched",
}

// writeUpdates adds what there is of updates to a status.
func writeUpdates(row func(name, format string, args ...any), d updatesDocument, now time.Time) {
	if d.Off != "" {
		row("Updates", "off (%s)", d.Off)
		return
	}
	does := "installed"
	if d.Notify != "" {
		does = "told of, not installed: " + d.Notify
	}
	row("Updates", "%s, %s", scopeText(d.Scope, d.Channel), does)
	if d.Paused != nil {
		row("Paused", "%s, by %s: 'caddy evergreen resume' ends it", when(d.Paused.Time, now), d.Paused.Who)
	}
	if n := d.Notice; n != nil {
		row("Available", "%s", noticeText(*n))
		if n.Why != "" && !n.Installs {
			row("", "not installed: %s", n.Why)
		}
	}
	state := string(d.State)
	if d.Waiting != "" {
		state += ": " + d.Waiting
	}
	row("Update", "%s", state)
	if !d.LastCheck.IsZero() {
		row("Last check", "%s", when(d.LastCheck, now))
	}
	if d.CheckError != "" {
		row("No answer", "%s", d.CheckError)
	}
	if !d.NextCheck.IsZero() {
		row("Next check", "%s", when(d.NextCheck, now))
	}
	if d.Running != "" {
		row("Runs", "slot %.12s; installed is %s", d.Running, cmp.Or(d.Installed, "another"))
	}
	if d.Refused != "" {
		row("Not run", "%s", d.Refused)
	}
	if d.Last != nil {
		row("Last update", "%s: %s", when(d.Last.Ended, now), outcomeText(*d.Last))
	}
	for _, q := range d.Quarantine {
		row("Not again", "%s: %s ('caddy evergreen apply' tries it again)", q.Version, q.Why)
	}
	if d.Problem != "" {
		row("Problem", "%s", d.Problem)
	}
}

func scopeText(s wire.Scope, c wire.Channel) string {
	text := map[wire.Scope]string{
		wire.ScopeAll: "all", wire.ScopeFeature: "feature and graver ones", wire.ScopeImportant: "important and critical ones", wire.ScopeCritical: "critical ones",
	}[s]
	if c == wire.ChannelBeta {
		text += ", betas too"
	}
	return cmp.Or(text, string(s))
}

// noticeText is an update that there is, in a line.
func noticeText(n updater.Notice) string {
	text := n.From + " → " + n.To
	if n.From == n.To {
		text = n.From + " with other modules"
	}
	text += " (" + string(n.Severity) + ")"
	if len(n.Advisories) > 0 {
		text += ", fixes " + strings.Join(n.Advisories, ", ")
	}
	if n.Link != "" {
		text += ": " + n.Link
	}
	return text
}
