CREATE TABLE builds (
	id TEXT NOT NULL PRIMARY KEY,
	spec TEXT NOT NULL,
	state TEXT NOT NULL,
	priority BIGINT NOT NULL,
	asked BIGINT NOT NULL,
	not_before BIGINT NOT NULL DEFAULT 0,
	began BIGINT NOT NULL DEFAULT 0,
	ended BIGINT NOT NULL DEFAULT 0,
	owner TEXT NOT NULL DEFAULT '',
	alive BIGINT NOT NULL DEFAULT 0,
	attempts BIGINT NOT NULL DEFAULT 0,
	error TEXT NOT NULL DEFAULT '',
	result TEXT NOT NULL DEFAULT '',
	size BIGINT NOT NULL DEFAULT 0,
	used BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX builds_by_state ON builds (state, priority, asked);
CREATE INDEX builds_by_use ON builds (state, used);
CREATE TABLE build_counts (
	day BIGINT NOT NULL,
	kind TEXT NOT NULL,
	telemetry TEXT NOT NULL,
	n BIGINT NOT NULL,
	PRIMARY KEY (day, kind, telemetry)
);
