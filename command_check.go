package evergreen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/caddy-evergreen/evergreen/inventory"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

func checkCommand(s *shared) *cobra.Command {
	var service, scope, channel string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Asks whether this executable needs an update",
		Long: `Asks the update service whether this executable, with just its plugins, needs an
update, and prints which and why. Nothing is changed, and no running Caddy is
needed. What is sent is the list of public modules that the executable was built
from, its Go version, platform, the scope and the channel.

Scopes are critical (vulnerabilities of high risk), important (also other
security fixes), feature and all.`,
		Example: `  $ caddy evergreen check
  $ caddy evergreen check --scope all --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			check, err := ownCheck(scope, channel)
			if err != nil {
				return err
			}
			if service == "" {
				service = updateService(os.Getenv)
			}
			if err := checkEndpoint(service); err != nil || service == "" {
				return errors.Join(errors.New("this executable knows no update service: name one with --service https://…, or EVERGREEN_UPDATES_SERVER in the environment"), err)
			}
			client := updater.Client{Service: service}
			answer, _, err := client.Check(cmd.Context(), check)
			if err != nil {
				return err
			}
			if s.json {
				body, err := json.Marshal(answer)
				return show(cmd.OutOrStdout(), body, err)
			}
			return writeAnswer(cmd.OutOrStdout(), check, answer)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&service, "service", "", "", "URL of the update service, if not the one that built this executable")
	f.StringVarP(&scope, "scope", "", string(wire.ScopeCritical), "Which updates: critical, important, feature or all")
	f.StringVarP(&channel, "channel", "", string(wire.ChannelStable), "Which releases: stable or beta")
	return cmd
}

// ownCheck is the check of this executable.
func ownCheck(scope, channel string) (wire.Check, error) {
	list, complete := inventory.BuildList(builtFrom(BuildSpec).plugins())
	check := wire.Check{
		Build: list, System: inventory.System(), Incomplete: !complete,
		Scope: wire.Scope(scope), Channel: wire.Channel(channel),
	}
	return check, check.Validate()
}

// updateService is where to ask, if nothing else is said.
func updateService(getenv func(string) string) string {
	for _, s := range []string{getenv("EVERGREEN_UPDATES_SERVER"), getenv("EVERGREEN_ENDPOINT"), DefaultEndpoint, builtFrom(BuildSpec).Service} {
		if s != "" {
			return s
		}
	}
	return ""
}

// writeAnswer prints an answer for people.
func writeAnswer(out io.Writer, c wire.Check, a wire.Answer) error {
	var b bytes.Buffer
	switch {
	case !a.NeedsUpdate:
		fmt.Fprintf(&b, "No update is needed (scope %s).\n", c.Scope)
	case a.Plan != nil:
		fmt.Fprintf(&b, "An update is needed (scope %s):\n\n", c.Scope)
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, change := range a.Plan.Changes {
			fmt.Fprintf(w, "  %s\t%s\t→ %s\t%s\n", change.Path, change.From, change.To, reasons(change.Reasons))
		}
		w.Flush()
		b.WriteByte('\n')
	}
	if a.Plan != nil {
		for _, u := range a.Plan.Unfixed {
			fmt.Fprintf(&b, "Stays unfixed: %s in %s: %s\n", u.Reason.ID, u.Path, u.Why)
		}
	}
	if a.Held != "" {
		fmt.Fprintf(&b, "Held back: %s\n", a.Held)
	}
	switch {
	case a.Target != nil:
		fmt.Fprintf(&b, "It is built: %s, %d bytes, SHA-256 %s.\n", a.Target.Name, a.Target.Size, a.Target.SHA256)
	case a.Build != nil && a.Build.State == "failed":
		fmt.Fprintf(&b, "It could not be built: %s\n", a.Build.Error)
	case a.Build != nil:
		fmt.Fprintf(&b, "It is being built (%s). Ask again in half a minute.\n", a.Build.State)
	case a.NeedsUpdate && c.Incomplete:
		b.WriteString("It has modules that are not public, so the service can't build it: build it yourself.\n")
	}
	_, err := out.Write(b.Bytes())
	return err
}

func reasons(rs []wire.Reason) string {
	var words []string
	for _, r := range rs {
		words = append(words, fmt.Sprintf("%s (%s)", r.ID, r.Severity))
	}
	const most = 4
	if len(words) > most {
		words = append(words[:most], fmt.Sprintf("and %d more", len(words)-most))
	}
	return strings.Join(words, ", ")
}
