package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/alerts"
	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/server/senders"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// subscriptionsPerHour is how many subscriptions a sender may make.
const subscriptionsPerHour = 20

// openAlerts opens the subscriptions, whose numbers are those of the pages.
func (s *service) openAlerts(ctx context.Context, registry prometheus.Registerer) (err error) {
	c := s.config
	if s.alertsDB, err = control.Open(ctx, c.Updates.Control); err != nil {
		return err
	}
	rates := senders.NewRates(subscriptionsPerHour/3600.0, subscriptionsPerHour, maxSenders)
	s.alerts, err = alerts.Open(ctx, alerts.Config{
		DB: s.alertsDB, Source: s.pages, Public: dashboard.PublicWatches(), URL: c.Updates.URL, Name: c.Name,
		Private: c.Alerts.Private, Most: c.Alerts.Most, Logger: s.log, Registerer: registry,
		Limit: func(r *http.Request) time.Duration {
			return rates.Wait(senders.Address(r, c.TrustedProxies), time.Now())
		},
	})
	return err
}

// advise tells what is known of a build, from what its reports name.
func (u *updateService) advise(ctx context.Context, c wire.Check) (*dashboard.Advice, error) {
	audit, err := u.planner.Audit(ctx, c, nil, time.Now(), plan.DefaultMaxAge)
	if err != nil {
		return nil, err
	}
	a := &dashboard.Advice{Verdict: string(audit.Verdict), Says: audit.Says, Plan: audit.Plan, PlanError: audit.PlanError}
	for _, f := range audit.Findings {
		a.Vulnerabilities = append(a.Vulnerabilities, dashboard.Vulnerability{
			ID: f.ID, Summary: f.Summary, Link: f.Link, Path: f.Path, Version: f.Version, Severity: f.Severity, FixedIn: f.FixedIn,
		})
	}
	return a, nil
}

// subscriptions are the alerts, which are opened after the pages that show them.
type subscriptions struct{ *service }

func (s subscriptions) Allow(r *http.Request) error { return s.alerts.Allow(r) }

func (s subscriptions) Subscribe(ctx context.Context, r watch.Request) (watch.Created, error) {
	return s.alerts.Subscribe(ctx, r)
}

func (s subscriptions) Subscription(ctx context.Context, id string) (watch.Subscription, error) {
	return s.alerts.Subscription(ctx, id)
}

func (s subscriptions) OfInstance(ctx context.Context, id wire.InstanceID) ([]watch.Subscription, error) {
	return s.alerts.OfInstance(ctx, id)
}

func (s subscriptions) End(ctx context.Context, id, token string) error {
	return s.alerts.End(ctx, id, token)
}

func (s subscriptions) EndOf(ctx context.Context, instance wire.InstanceID, id string) error {
	return s.alerts.EndOf(ctx, instance, id)
}
