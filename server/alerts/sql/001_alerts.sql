CREATE TABLE alert_subscriptions (
	id TEXT NOT NULL PRIMARY KEY,
	token BYTEA NOT NULL,
	name TEXT NOT NULL,
	instance TEXT NOT NULL,
	url TEXT NOT NULL,
	host TEXT NOT NULL,
	secret BYTEA NOT NULL,
	state TEXT NOT NULL,
	why TEXT NOT NULL,
	failing BIGINT NOT NULL,
	heard BIGINT NOT NULL,
	created BIGINT NOT NULL
);
CREATE INDEX alert_subscriptions_by_instance ON alert_subscriptions (instance);
CREATE INDEX alert_subscriptions_by_host ON alert_subscriptions (host);
CREATE TABLE alert_watches (
	subscription TEXT NOT NULL,
	n BIGINT NOT NULL,
	body TEXT NOT NULL,
	unit TEXT NOT NULL,
	state TEXT NOT NULL,
	since BIGINT NOT NULL,
	side BIGINT NOT NULL,
	streak BIGINT NOT NULL,
	latest TEXT NOT NULL,
	history BYTEA NOT NULL,
	due BIGINT NOT NULL,
	PRIMARY KEY (subscription, n)
);
CREATE INDEX alert_watches_by_due ON alert_watches (due);
CREATE TABLE alert_events (
	id TEXT NOT NULL PRIMARY KEY,
	subscription TEXT NOT NULL,
	time BIGINT NOT NULL,
	body TEXT NOT NULL,
	delivery TEXT NOT NULL
);
CREATE INDEX alert_events_by_subscription ON alert_events (subscription, time);
CREATE TABLE alert_deliveries (
	event TEXT NOT NULL PRIMARY KEY,
	subscription TEXT NOT NULL,
	body TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	due BIGINT NOT NULL
);
CREATE INDEX alert_deliveries_by_due ON alert_deliveries (due)
