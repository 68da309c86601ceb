package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-evergreen/evergreen/server/alerts"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

const alertAbout = `Usage: evergreen alert VERB [FLAGS]

Has you told when a number departs from what is usual for it, and when it returns:
in an Atom feed, or by a webhook that is signed as Standard Webhooks says.

  show [ID]     what is watched and what happened; without ID what everybody may see
  subscribe     watch public numbers, or, with --link, those of your own Caddy
  end ID        end a subscription, with its token in EVERGREEN_ALERT_TOKEN
  listen        a webhook that prints what it is told, and verifies it

` + "`evergreen alert VERB --help`" + ` tells more of each.`

func alertCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	verbs := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"show": alertShow, "subscribe": alertSubscribe, "end": alertEnd, "listen": alertListen,
	}
	if len(args) == 0 || slices.Contains([]string{"-h", "-help", "--help", "help"}, args[0]) {
		fmt.Fprintln(stderr, alertAbout)
		if len(args) == 0 {
			return errUsage
		}
		return flag.ErrHelp
	}
	run, ok := verbs[args[0]]
	if !ok {
		return fmt.Errorf("there is no `evergreen alert %.40s`: %w", args[0], errUsage)
	}
	return run(ctx, args[1:], stdout, stderr)
}

// alertFlags are those that all verbs have which ask a service.
func alertFlags(name, about string, stderr io.Writer) (fs *flag.FlagSet, server *string, asJSON *bool) {
	fs = flags("alert "+name, about, stderr)
	server = fs.String("server", cmp.Or(os.Getenv("EVERGREEN_SERVER"), "http://"+defaultConfig().Listen), "`URL` of the service; also from EVERGREEN_SERVER")
	return fs, server, fs.Bool("json", false, "print the answer as JSON")
}

// askAlerts asks the service's API. into may be nil.
func askAlerts(ctx context.Context, server, method, path string, body any, token string, into any) error {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("--server is %.100q: it should be a URL such as https://evergreen.example", server)
	}
	var b []byte
	if body != nil {
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, u.JoinPath(path).String(), bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "evergreen")
	if body != nil {
		r.Header.Set("Content-Type", wire.TypeJSON)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	asker := http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := asker.Do(r)
	if err != nil {
		return fmt.Errorf("asking the service: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the service's answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		var p wire.Problem
		if json.Unmarshal(answer, &p) != nil || p.Title == "" {
			return fmt.Errorf("the service at %s answers %s: is it an Evergreen with alerts?", u.Redacted(), resp.Status)
		}
		return errors.New(printable(p.Title + ": " + p.Detail))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("reading the service's answer: %w", err)
	}
	return nil
}

func alertShow(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs, server, asJSON := alertFlags("show", "Usage: evergreen alert show [ID] [FLAGS]\n\nShows what a subscription watches, and what happened. Without ID it is the one that\neverybody may see.", stderr)
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if len(rest) > 1 {
		return fmt.Errorf("show takes one ID: %w", errUsage)
	}
	var sub watch.Subscription
	if err := askAlerts(ctx, *server, http.MethodGet, strings.Join(append([]string{alerts.PathAlerts}, rest...), "/"), nil, "", &sub); err != nil {
		return err
	}
	if *asJSON {
		return printJSON(stdout, sub)
	}
	fmt.Fprintln(stdout, printable(sub.Name))
	if sub.State != "active" {
		fmt.Fprintln(stdout, printable(strings.TrimSuffix(sub.State+": "+sub.Why, ": ")))
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	row(w, "NUMBER", "STATE", "LAST HOUR", "USUAL", "NOT YET UNUSUAL", "SINCE")
	for _, l := range sub.Watches {
		value, usual, bounds := "–", "–", "–"
		if j := l.Latest; j != nil {
			value = watch.Show(j.Value, l.Unit)
			if j.Known && l.Measure != watch.Silence {
				usual, bounds = watch.Show(j.Usual, l.Unit), watch.Show(j.Lowest, l.Unit)+" – "+watch.Show(j.Most, l.Unit)
			}
		}
		row(w, l.Name, l.State, value, usual, bounds, l.Since.Format(time.RFC3339))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, e := range sub.Events {
		line := e.Time.Format(time.RFC3339) + "  " + e.Text
		if e.Delivery != "" {
			line += " (webhook: " + e.Delivery + ")"
		}
		fmt.Fprintln(stdout, printable(line))
	}
	return nil
}

const alertSubscribeAbout = `Usage: evergreen alert subscribe [FLAGS]

Watches one number; subscribe again for another. --query is a question as the API's
/api/v1/query has it, without by and range:

  evergreen alert subscribe --query 'metric=http.requests&facet=country&value=DE'
  evergreen alert subscribe --query 'metric=http.requests.method&where.status_class=5xx' --measure share
  evergreen alert subscribe --query 'metric=http.first_byte&q=0.9' --measure quantile --direction above
  evergreen alert subscribe --measure silence --link "$(caddy evergreen link)" --webhook https://example.com/hook

With --link, which is what ` + "`caddy evergreen link`" + ` prints, the numbers are that Caddy's own.
The token, which ends the subscription, and the secret, which verifies a webhook's
messages, are printed once.`

func alertSubscribe(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs, server, asJSON := alertFlags("subscribe", alertSubscribeAbout, stderr)
	var wish alerts.Wish
	var w watch.Watch
	fs.StringVar(&w.Query, "query", "", "the number's `QUESTION`")
	fs.StringVar((*string)(&w.Measure), "measure", string(watch.Count), "count, share, quantile or silence")
	fs.StringVar((*string)(&w.Direction), "direction", string(watch.Either), "what to tell: above, below or either")
	fs.StringVar((*string)(&w.Sensitivity), "sensitivity", string(watch.Normal), "low tells of the extreme only, high of a little, too: low, normal or high")
	fs.StringVar(&wish.Name, "name", "", "a `NAME` for it")
	fs.StringVar(&wish.URL, "webhook", "", "`URL` to post to; without it there is a feed only")
	fs.StringVar(&wish.Link, "link", "", "`LINK` to the page of the Caddy to watch")
	if err := parse(fs, args); err != nil {
		return err
	}
	wish.Watches = []watch.Watch{w}
	if err := w.Complete(); err != nil {
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	var c watch.Created
	if err := askAlerts(ctx, *server, http.MethodPost, alerts.PathAlerts, wish, "", &c); err != nil {
		return err
	}
	if *asJSON {
		return printJSON(stdout, c)
	}
	base := strings.TrimSuffix(*server, "/")
	t := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	for _, l := range [][2]string{{"ID", c.ID}, {"Token", c.Token}, {"Secret", c.Secret}, {"Page", base + c.Page}, {"Feed", base + c.Feed}} {
		if l[1] != "" {
			row(t, l[0], l[1])
		}
	}
	return t.Flush()
}

func alertEnd(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs, server, _ := alertFlags("end", "Usage: evergreen alert end ID [FLAGS]\n\nEnds a subscription, and deletes what it watched and told. The token is taken from the\nenvironment, EVERGREEN_ALERT_TOKEN.", stderr)
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	token := os.Getenv("EVERGREEN_ALERT_TOKEN")
	if len(rest) != 1 || token == "" {
		return fmt.Errorf("end takes an ID, and the token in EVERGREEN_ALERT_TOKEN: %w", errUsage)
	}
	if err := askAlerts(ctx, *server, http.MethodDelete, alerts.PathAlerts+"/"+url.PathEscape(rest[0]), nil, token, nil); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "It has ended.")
	return nil
}

const alertListenAbout = `Usage: evergreen alert listen [FLAGS]

Takes webhooks on an address and prints a line for each, its time, type and text, when
the signature is right; what is not signed with the secret is answered with 401. It is
meant for trying out, and as an example: put a Caddy with TLS in front of it. The
secret is taken from the environment, EVERGREEN_ALERT_SECRET; without it nothing but
the first message of a new subscription is taken, unverified.`

func alertListen(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("alert listen", alertListenAbout, stderr)
	listen := fs.String("listen", "127.0.0.1:8402", "`ADDRESS` to listen on")
	if err := parse(fs, args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listening: %w (choose another address with --listen)", err)
	}
	fmt.Fprintf(stderr, "Takes webhooks on http://%s\n", ln.Addr())
	secret := os.Getenv("EVERGREEN_ALERT_SECRET")
	lines := make(chan string)
	server := &http.Server{ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		var m alerts.Message
		if err != nil || r.Method != http.MethodPost || json.Unmarshal(b, &m) != nil {
			http.Error(w, "this takes webhooks", http.StatusBadRequest)
			return
		}
		if secret != "" || m.Type != "alert.subscribed" {
			if err := alerts.Verify(secret, r.Header, b, time.Now()); err != nil || secret == "" {
				http.Error(w, "the signature is not right", http.StatusUnauthorized)
				return
			}
		}
		select {
		case lines <- printable(strings.ReplaceAll(m.Timestamp.Format(time.RFC3339)+"  "+m.Type+"  "+m.Data.Text, "\n", " ")):
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
		}
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	for {
		select {
		case line := <-lines:
			fmt.Fprintln(stdout, line)
		case <-ctx.Done():
			return server.Close()
		case err := <-served:
			return err
		}
	}
}
