-- One row for each incident of an instance, in its newest known state. The
-- three lists run in parallel. No index, for the reasons that instances has none.
CREATE TABLE incidents (
	instance    UUID       NOT NULL,
	number      UBIGINT    NOT NULL,
	known       BIGINT     NOT NULL, -- Unix seconds, as begun and ended
	begun       BIGINT     NOT NULL,
	ended       BIGINT     NOT NULL,
	ongoing     BOOLEAN    NOT NULL,
	kind        USMALLINT  NOT NULL,
	scan        USMALLINT  NOT NULL,
	fingerprint USMALLINT  NOT NULL,
	events      BIGINT     NOT NULL,
	networks    UINTEGER[] NOT NULL, -- autonomous systems
	countries   VARCHAR[]  NOT NULL,
	percents    UINTEGER[] NOT NULL
);
