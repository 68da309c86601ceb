-- Rows are appended as they are committed (level 0). Compaction merges equal
-- keys of a short range of time (level 1) and later sorts a long one by metric
-- and facet (level 2), so that row groups' minima and maxima tell a query what
-- it need not read. value and label are BLOB because they must come back byte
-- for byte, whatever they hold; buckets and registers are encoded as in
-- sketch.go and the only columns that may be NULL.
CREATE TABLE rollup_window (
	start     BIGINT, -- Unix seconds
	metric    USMALLINT,
	facet     UTINYINT,
	value     BLOB,
	d0        USMALLINT,
	d1        USMALLINT,
	d2        USMALLINT,
	d3        USMALLINT,
	d4        USMALLINT,
	label     BLOB,
	count     BIGINT,
	sum       BIGINT,
	reports   BIGINT,
	top       BIGINT,
	buckets   BLOB,
	registers BLOB,
	level     UTINYINT
);
CREATE TABLE rollup_hour AS FROM rollup_window;
CREATE TABLE rollup_day AS FROM rollup_window;

-- No index: each batch touches a large part of the instances, for which one
-- hash join with a scan is faster, and an index would make a row that was
-- deleted under a running query refuse its successor. Commits take turns,
-- which keeps id unique.
CREATE TABLE instances (
	id             UUID    NOT NULL,
	high           UBIGINT NOT NULL,
	seen           UBIGINT NOT NULL,
	counted_window BIGINT  NOT NULL,
	counted_hour   BIGINT  NOT NULL,
	counted_day    BIGINT  NOT NULL,
	first          BIGINT  NOT NULL,
	last           BIGINT  NOT NULL
);

CREATE TABLE positions (
	log      BLOB    NOT NULL,
	position UBIGINT NOT NULL
);
