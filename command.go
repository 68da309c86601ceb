package evergreen

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-evergreen/evergreen/nearest"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "evergreen",
		Usage: "status | report | link | check | audit | apply | rollback | pause | resume | slots | promote | reset-identity | forget",
		Short: "Shows and controls what this Caddy reports, and its updates",
		Long: `
Shows and controls the telemetry of a running Caddy, and its updates.

Caddy with Evergreen compiled in counts what it sees of the Internet and
reports the sums: no addresses, no host names, no paths, nothing that
identifies anyone. 'caddy evergreen report' prints exactly what the next
report holds.

To turn it off, write

    {
        evergreen off
    }

at the top of the Caddyfile, or start Caddy with EVERGREEN_TELEMETRY=off or
DO_NOT_TRACK=1 in its environment.

A Caddy that knows an update service keeps itself up to date: by default with
what fixes vulnerabilities of high risk. The global option 'updates all' or
'updates none', or EVERGREEN_UPDATES=off in its environment, change that;
'caddy evergreen audit' tells whether what runs is safe.

The commands ask the running Caddy through its admin API, at
'` + caddy.DefaultAdminListen + `' unless --address says otherwise, or --config
names the configuration that does.`,
		CobraFunc: addCommands,
	})
}

// shared are the flags of every command.
type shared struct {
	address, config, adapter string
	json                     bool
}

func addCommands(cmd *cobra.Command) {
	var s shared
	f := cmd.PersistentFlags()
	f.StringVarP(&s.address, "address", "", "", "Address of the admin API, if --config is not used")
	f.StringVarP(&s.config, "config", "c", "", "Configuration file to take the admin API's address from, if --address is not used")
	f.StringVarP(&s.adapter, "adapter", "a", "", "Name of the config adapter, if --config is used")
	f.BoolVarP(&s.json, "json", "", false, "Print the admin API's answer as JSON")

	cmd.Example = `  $ caddy evergreen status
  $ caddy evergreen report | less
  $ caddy evergreen link --ttl 7d`
	cmd.AddCommand(statusCommand(&s), reportCommand(&s), linkCommand(&s), checkCommand(&s), resetCommand(&s), forgetCommand(&s),
		auditCommand(&s), applyCommand(&s), rollbackCommand(&s), pauseCommand(&s), resumeCommand(&s), slotsCommand(&s), promoteCommand(&s))
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		return fmt.Errorf("there is no command 'caddy evergreen %.40s'%s", args[0], nearest.Hint(args[0], names))
	}
}

func statusCommand(s *shared) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Shows whether and where this Caddy reports, and how that goes",
		Long: `Shows whether telemetry is on and if not, why; where reports go; when the last
one was sent and the next one will be; and what waits in the spool. Then, which
updates are installed, which one there is, and how the last one went.`,
		Example: `  $ caddy evergreen status
  $ caddy evergreen status --json --address localhost:2020`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := s.ask(http.MethodGet, "status", nil)
			if err != nil || s.json {
				return show(cmd.OutOrStdout(), body, err)
			}
			var d statusDocument
			if err := json.Unmarshal(body, &d); err != nil {
				return fmt.Errorf("reading Caddy's answer: %w", err)
			}
			return writeStatus(cmd.OutOrStdout(), d, time.Now())
		},
	}
}

func reportCommand(s *shared) *cobra.Command {
	return &cobra.Command{
		Use:   "report",
		Short: "Prints exactly what the next report holds",
		Long: `Prints the next report as it would be sent now: the facts about this Caddy, and
what was counted since the last report. It is JSON with names; on the wire the
same report has numbers in place of the names. Printing sends nothing.`,
		Example: `  $ caddy evergreen report
  $ caddy evergreen report --config /etc/caddy/Caddyfile > report.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := s.ask(http.MethodGet, "report", nil)
			return show(cmd.OutOrStdout(), body, err)
		},
	}
}

func linkCommand(s *shared) *cobra.Command {
	var ttl string
	cmd := &cobra.Command{
		Use:   "link",
		Short: "Makes a link to this Caddy's own page",
		Long: `Makes a link to the page that shows this Caddy's own reports. Whoever has the
link can read the page until the link expires; nobody else can.`,
		Example: `  $ caddy evergreen link
  $ caddy evergreen link --ttl 7d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := json.Marshal(map[string]string{"ttl": ttl})
			if err != nil {
				return err
			}
			body, err := s.ask(http.MethodPost, "link", request)
			if err != nil || s.json {
				return show(cmd.OutOrStdout(), body, err)
			}
			var d linkDocument
			if err := json.Unmarshal(body, &d); err != nil {
				return fmt.Errorf("reading Caddy's answer: %w", err)
			}
			// The link alone goes to where a pipe takes it from.
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), d.URL); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Whoever has this link can read this Caddy's page until %s.\n", clock(d.Expires))
			return err
		},
	}
	cmd.Flags().StringVarP(&ttl, "ttl", "", "24h", "How long the link is good for, such as 90m, 24h or 7d")
	return cmd
}

func resetCommand(s *shared) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset-identity",
		Short: "Gives this Caddy a new random identity",
		Long: `Makes a new key, and with it a new instance id, so that nothing connects future
reports to earlier ones. Earlier reports stay where they are, and with the old
key gone they can't be deleted on request any more: to have them deleted, use
'caddy evergreen forget' instead.`,
		Example: `  $ caddy evergreen reset-identity
  $ caddy evergreen reset-identity --yes --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.change(cmd, yes, "reset-identity",
				"This Caddy gets a new identity. Its earlier reports can't be deleted on request afterwards.",
				"This Caddy has a new identity.")
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do it without asking")
	return cmd
}

func forgetCommand(s *shared) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "forget",
		Short: "Has the server delete this Caddy's reports and page",
		Long: `Asks the server, in a request signed by this Caddy's key, to delete all its
reports and its page, and then takes a new identity. Only its share of
anonymous sums remains. Reports go on under the new identity: to end them, turn
telemetry off.`,
		Example: `  $ caddy evergreen forget
  $ caddy evergreen forget --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.change(cmd, yes, "forget",
				"The server deletes this Caddy's reports and its page, for good.",
				"The server deleted this Caddy's reports and page. Reports go on under a new identity; to end them, turn telemetry off.")
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do it without asking")
	return cmd
}

// change asks the person first, then Caddy.
func (s *shared) change(cmd *cobra.Command, yes bool, path, warning, done string) error {
	if !yes {
		if err := confirm(cmd.InOrStdin(), cmd.ErrOrStderr(), warning); err != nil {
			return err
		}
	}
	body, err := s.ask(http.MethodPost, path, nil)
	if err != nil || s.json {
		return show(cmd.OutOrStdout(), body, err)
	}
	var d doneDocument
	if err := json.Unmarshal(body, &d); err != nil {
		return fmt.Errorf("reading Caddy's answer: %w", err)
	}
	if d.Instance != "" {
		done += "\nIts id is " + d.Instance + "."
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), done)
	return err
}

func confirm(in io.Reader, out io.Writer, warning string) error {
	if _, err := fmt.Fprintf(out, "%s\nType yes to go on: ", warning); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(in, 100)).ReadString('\n')
	if err != nil {
		fmt.Fprintln(out)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "yes", "y":
		return nil
	case "":
		return errors.New("not confirmed, so nothing was done: answer yes, or add --yes")
	}
	return errors.New("not confirmed, so nothing was done")
}

// show prints an answer that is JSON, indented.
func show(out io.Writer, body []byte, err error) error {
	if err != nil {
		return err
	}
	b, err := indent(body)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}
