package evergreen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

func auditCommand(s *shared) *cobra.Command {
	var service, scope string
	var own bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Am I safe? Shows the known vulnerabilities of this very build",
		Long: `Asks the update service which vulnerabilities are known of what runs: of Caddy,
each plugin, each dependency and Go itself, at just the versions that it was
built from; and what to change. Nothing is changed.

The build is that of the Caddy that answers at the admin API. If none does, or
with --self, it is that of this executable; no running Caddy is needed then.

The exit status is 0 if no vulnerability is known, and 1 if one is, or if it
can't be told.`,
		Example: `  $ caddy evergreen audit
  $ caddy evergreen audit --self --service https://updates.example --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, whose, err := s.auditedBuild(own)
			if err != nil {
				return err
			}
			for _, known := range []string{d.Service, updateService(os.Getenv)} {
				if service == "" {
					service = known
				}
			}
			if err := checkURL("service", service); err != nil || service == "" {
				return errors.Join(errors.New("no update service is known: name one with --service https://…, or EVERGREEN_UPDATES_SERVER in the environment"), err)
			}
			if _, err := parseScope(scope); err != nil {
				return err
			}
			d.Check.Scope, d.Check.SHA256 = wire.Scope(scope), ""
			client := updater.Client{Service: service}
			audit, raw, err := client.Audit(cmd.Context(), d.Check)
			if err != nil {
				return err
			}
			if s.json {
				err = show(cmd.OutOrStdout(), raw, nil)
			} else {
				err = writeAudit(cmd.OutOrStdout(), audit, whose)
			}
			if err == nil && audit.Verdict != updater.Clean {
				err = errors.New(audit.Says)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&service, "service", "", "", "URL of the update service, if not the one that the running Caddy, or this executable, knows")
	f.StringVarP(&scope, "scope", "", string(wire.ScopeImportant), "What the plan shall fix: critical, important, feature or all")
	f.BoolVarP(&own, "self", "", false, "Audit this executable, whatever runs")
	return cmd
}

// auditedBuild is the running Caddy's build, or else this executable's.
func (s *shared) auditedBuild(own bool) (d buildDocument, whose string, err error) {
	if !own {
		body, err := s.ask(http.MethodGet, "build", nil)
		switch {
		case err == nil:
			if err := json.Unmarshal(body, &d); err != nil {
				return d, "", fmt.Errorf("reading Caddy's answer: %w", err)
			}
			return d, "the running Caddy", nil
		case s.address != "" || s.config != "":
			return d, "", fmt.Errorf("%w; or audit this executable, with --self", err)
		}
	}
	d.Check, err = new(self).check()
	d.Check.Channel = wire.ChannelStable
	return d, "this executable", err
}

// writeAudit prints an audit for people.
func writeAudit(out io.Writer, a updater.Audit, whose string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s.\n", strings.ToUpper(whose[:1])+whose[1:], a.Says)
	counting, others := 0, 0
	for _, f := range a.Findings {
		if f.Severity == wire.SeverityUnrated {
			others++
			continue
		}
		if counting++; counting == 1 {
			b.WriteByte('\n')
		}
		fixed := "no version fixes it"
		if f.FixedIn != "" {
			fixed = "fixed in " + f.FixedIn
		}
		fmt.Fprintf(&b, "%s (%s) in %s %s, %s\n", f.ID, f.Severity, f.Path, f.Version, fixed)
		if f.Summary != "" {
			fmt.Fprintf(&b, "    %s\n", f.Summary)
		}
		if f.Link != "" {
			fmt.Fprintf(&b, "    %s\n", f.Link)
		}
	}
	if others > 0 {
		fmt.Fprintf(&b, "\n%s more in what is not linked here, or unrated: --json lists them.\n", plural(uint64(others), "finding"))
	}
	if len(a.Unchecked) > 0 {
		fmt.Fprintf(&b, "\nNothing is known of these, of no released version: %s.\n", strings.Join(a.Unchecked, ", "))
	}
	if a.Plan != nil && len(a.Plan.Changes) > 0 {
		b.WriteString("\nThis changes it:\n")
		for _, c := range a.Plan.Changes {
			fmt.Fprintf(&b, "  %s %s → %s\n", c.Path, c.From, c.To)
		}
		b.WriteString("`caddy evergreen apply` installs what the update service offers.\n")
	}
	if a.PlanError != "" {
		fmt.Fprintf(&b, "\nWhat would fix it could not be planned: %s\n", a.PlanError)
	}
	if !a.AdvisoriesAsOf.IsZero() {
		fmt.Fprintf(&b, "\nAs of %s.\n", a.AdvisoriesAsOf.UTC().Format(time.DateOnly))
	}
	_, err := out.Write(b.Bytes())
	return err
}
