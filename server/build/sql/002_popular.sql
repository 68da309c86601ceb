ALTER TABLE builds ADD COLUMN handed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX builds_by_popularity ON builds (handed, used);
