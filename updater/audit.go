package updater

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// An Audit is what the service knows of a build's vulnerabilities.
type Audit struct {
	Verdict        string    `json:"verdict"` // "vulnerable", "clean", "unknown"
	Says           string    `json:"says"`    // the verdict in words
	AdvisoriesAsOf time.Time `json:"advisories_as_of"`
	// Findings are the vulnerabilities, the gravest first. Those of severity
	// unrated are for information: what they are in is not linked, or nobody
	// rated them.
	Findings  []Finding  `json:"findings"`
	Unchecked []string   `json:"unchecked,omitempty"` // modules that nothing is known of
	Plan      *wire.Plan `json:"plan,omitempty"`      // what to change
	PlanError string     `json:"plan_error,omitempty"`
}

// The verdicts of an Audit.
const (
	Vulnerable = "vulnerable"
	Clean      = "clean"
	Unknown    = "unknown"
)

// A Finding is one vulnerability of one module.
type Finding struct {
	ID       string        `json:"id"`
	Aliases  []string      `json:"aliases,omitempty"`
	Summary  string        `json:"summary,omitempty"`
	Link     string        `json:"link"`
	Path     string        `json:"path"`
	Version  string        `json:"version"`
	Severity wire.Severity `json:"severity"`
	FixedIn  string        `json:"fixed_in,omitempty"` // "": nowhere
}

// Audit asks what a build is vulnerable to; raw is the answer as it came.
func (c *Client) Audit(ctx context.Context, check wire.Check) (a Audit, raw []byte, err error) {
	body, err := json.Marshal(check)
	if err != nil {
		return a, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	url := strings.TrimSuffix(c.Service, "/") + wire.PathAudit
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return a, nil, fmt.Errorf("the service's URL: %w", err)
	}
	req.Header.Set("Content-Type", wire.TypeJSON)
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, nil, fmt.Errorf("asking for vulnerabilities: %w", err)
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return a, nil, fmt.Errorf("reading the answer about vulnerabilities: %w", err)
	}
	if len(raw) > maxAnswer {
		return a, nil, fmt.Errorf("the answer about vulnerabilities is over %d bytes", maxAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		p := &Problem{}
		if json.Unmarshal(raw, &p.Problem) != nil || p.Title == "" {
			p.Problem = wire.Problem{Title: "it is no service that knows about vulnerabilities", Detail: "Is " + url + " the right place?"}
		}
		p.Status = resp.StatusCode
		return a, nil, p
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, nil, fmt.Errorf("the answer about vulnerabilities is not understood: %w", err)
	}
	switch a.Verdict {
	case Vulnerable, Clean, Unknown:
		return a, raw, nil
	}
	return a, nil, fmt.Errorf("the answer about vulnerabilities has the verdict %.40q, which means nothing here", a.Verdict)
}
