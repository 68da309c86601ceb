-- One row counts the changes, so that servers know what they have not seen.
CREATE TABLE release_generation (
	one BIGINT NOT NULL PRIMARY KEY,
	n BIGINT NOT NULL
);
INSERT INTO release_generation (one, n) VALUES (1, 0);

-- body is a wire.Release in JSON; generation is that of its last change.
CREATE TABLE releases (
	path TEXT NOT NULL,
	version TEXT NOT NULL,
	body TEXT NOT NULL,
	generation BIGINT NOT NULL,
	PRIMARY KEY (path, version)
);
CREATE INDEX releases_by_generation ON releases (generation);

-- What waits for a second person; body is a wire.Release in JSON.
CREATE TABLE release_proposals (
	path TEXT NOT NULL,
	version TEXT NOT NULL,
	body TEXT NOT NULL,
	principal TEXT NOT NULL,
	time BIGINT NOT NULL,
	PRIMARY KEY (path, version)
);

-- principal is "key:" and an Ed25519 public key, or "token:" and a token's
-- SHA-256, in hexadecimal.
CREATE TABLE release_roles (
	principal TEXT NOT NULL,
	path TEXT NOT NULL,
	role TEXT NOT NULL,
	name TEXT NOT NULL,
	granted_by TEXT NOT NULL,
	time BIGINT NOT NULL,
	PRIMARY KEY (principal, path)
);

-- Only ever added to; sum is the SHA-256 of the row before and this one.
CREATE TABLE release_audit (
	n BIGINT NOT NULL PRIMARY KEY,
	time BIGINT NOT NULL,
	who TEXT NOT NULL,
	principal TEXT NOT NULL,
	action TEXT NOT NULL,
	path TEXT NOT NULL,
	subject TEXT NOT NULL,
	before TEXT NOT NULL,
	after TEXT NOT NULL,
	sum TEXT NOT NULL
);
CREATE INDEX release_audit_by_path ON release_audit (path, n);

-- Signed requests that were obeyed, until they are too old to be.
CREATE TABLE release_spent (
	signature TEXT NOT NULL PRIMARY KEY,
	until BIGINT NOT NULL
);

CREATE TABLE advisory_overrides (
	id TEXT NOT NULL PRIMARY KEY,
	severity TEXT NOT NULL,
	reason TEXT NOT NULL,
	who TEXT NOT NULL,
	time BIGINT NOT NULL
);

-- How the module proxy answered, and when to ask it again; misses is a JSON
-- object of versions that it did not have, to when it is asked for them again.
CREATE TABLE release_polls (
	path TEXT NOT NULL PRIMARY KEY,
	etag TEXT NOT NULL,
	modified TEXT NOT NULL,
	next BIGINT NOT NULL,
	failures BIGINT NOT NULL,
	misses TEXT NOT NULL
);
CREATE INDEX release_polls_by_next ON release_polls (next);
