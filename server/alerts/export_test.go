package alerts

import (
	"context"
	"net/http"
)

// Look and Deliver are one round of what Run does.
func (s *Service) Look(ctx context.Context) error    { return s.look(ctx) }
func (s *Service) Deliver(ctx context.Context) error { return s.deliver(ctx) }

// Dial connects as a webhook to a public address would.
func Dial(ctx context.Context, address string) error {
	c, err := transport(false).(*http.Transport).DialContext(ctx, "tcp", address)
	if err == nil {
		return c.Close()
	}
	return err
}

var CheckURL = checkURL
