package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

func releaseGrant(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	g := release.GrantRequest{Role: release.RoleMaintainer}
	fs.StringVar(&g.Name, "name", "", "the person's `NAME`, as others read it")
	key := fs.String("public-key", "", "the person's public `KEY`: 64 hexadecimal digits, or a file in PEM")
	token := fs.Bool("token", false, "make a token for the person, and print it, once")
	fs.StringVar(&g.Principal, "principal", "", "`PRINCIPAL` that has a role already, as `roles` lists it")
	admin := fs.Bool("admin", false, "the person may grant roles, too")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if g.Path, err = oneModule("grant", rest, true); err != nil {
		return err
	}
	if g.Name == "" {
		return fmt.Errorf("grant needs a --name: %w", errUsage)
	}
	if *admin {
		g.Role = release.RoleAdmin
	}
	var made string
	n := 0
	for _, given := range []bool{*key != "", *token, g.Principal != ""} {
		if given {
			n++
		}
	}
	switch {
	case n != 1:
		return fmt.Errorf("grant needs one of --public-key, --token and --principal: %w", errUsage)
	case *key != "":
		pub, err := publicKey(*key)
		if err != nil {
			return err
		}
		g.Principal = release.KeyPrincipal(pub)
	case *token:
		// Made here: the service only ever keeps its hash.
		made = release.NewToken()
		g.Principal = release.TokenPrincipal(made)
	}
	var granted release.Grant
	if err := c.post(ctx, wire.PathReleases+"/grant", g, &granted); err != nil {
		return err
	}
	if c.json {
		return printJSON(stdout, struct {
			release.Grant
			Token string `json:"token,omitempty"`
		}{granted, made})
	}
	fmt.Fprintln(stdout, printable(fmt.Sprintf("%s is %s of %s", granted.Name, granted.Role, granted.Path)))
	if made != "" {
		fmt.Fprintf(stdout, "token, which is shown only now: %s\n", made)
	}
	return nil
}

func releaseRevoke(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	var r release.RevokeRequest
	fs.StringVar(&r.Who, "who", "", "`NAME` of the person, or one principal, as `roles` lists them")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if r.Path, err = oneModule("revoke", rest, true); err != nil {
		return err
	}
	if r.Who == "" {
		return fmt.Errorf("revoke needs --who: %w", errUsage)
	}
	if err := c.post(ctx, wire.PathReleases+"/revoke", r, &struct{}{}); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "revoked")
	return nil
}

func releaseRoles(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	if err := parse(fs, args); err != nil {
		return err
	}
	var gs []release.Grant
	if err := c.post(ctx, wire.PathReleases+"/roles", struct{}{}, &gs); err != nil {
		return err
	}
	if c.json {
		return printJSON(stdout, gs)
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLE\tOF\tSINCE\tBY\tPRINCIPAL")
	for _, g := range gs {
		row(w, g.Name, g.Role, g.Path, g.Time.Format("2006-01-02"), g.By, g.Principal)
	}
	return w.Flush()
}
