package updater

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Limits of an answer.
const (
	maxAnswer = 4 << 20 // bytes
	askTime   = 60 * time.Second
)

// A Client asks one service.
type Client struct {
	Service  string           // base URL
	Instance *wire.InstanceID // decides about rollouts; nil: as an instance that none has reached
	HTTP     *http.Client     // http.DefaultClient if nil
}

// A Problem is an answer that is none: what the service says of why.
type Problem struct{ wire.Problem }

func (p *Problem) Error() string {
	return fmt.Sprintf("the service answered %d: %s: %s", p.Status, p.Title, p.Detail)
}

// Check asks. After an error, again is zero if the service did not say when to
// ask again.
func (c *Client) Check(ctx context.Context, check wire.Check) (a wire.Answer, again time.Duration, err error) {
	body, err := json.Marshal(check)
	if err != nil {
		return a, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	url := strings.TrimSuffix(c.Service, "/") + wire.PathCheck
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return a, 0, fmt.Errorf("the service's URL: %w", err)
	}
	req.Header.Set("Content-Type", wire.TypeJSON)
	// An instance without an identity is one that no rollout has reached yet.
	id := wire.InstanceID{}
	if c.Instance != nil {
		id = *c.Instance
	}
	req.Header.Set(wire.HeaderInstance, id.String())
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, 0, fmt.Errorf("asking for updates: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return a, 0, fmt.Errorf("reading the answer about updates: %w", err)
	}
	if len(answer) > maxAnswer {
		return a, 0, fmt.Errorf("the answer about updates is over %d bytes", maxAnswer)
	}
	if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		again = time.Duration(s) * time.Second
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted:
	default:
		p := &Problem{}
		if json.Unmarshal(answer, &p.Problem) != nil || p.Title == "" {
			p.Problem = wire.Problem{Title: "it is no service that knows about updates", Detail: "Is " + url + " the right place?"}
		}
		p.Status = resp.StatusCode
		return a, again, p
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return a, again, fmt.Errorf("the answer about updates is not understood: %w", err)
	}
	if a.NeedsUpdate && (a.Plan == nil || len(a.Plan.Changes) == 0) {
		return a, again, errors.New("the answer about updates says that one is needed, and not which")
	}
	return a, again, nil
}
