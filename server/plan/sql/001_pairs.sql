CREATE TABLE plan_pairs (
	module TEXT NOT NULL,
	version TEXT NOT NULL,
	with_module TEXT NOT NULL,
	with_version TEXT NOT NULL,
	words TEXT NOT NULL,
	found BIGINT NOT NULL,
	PRIMARY KEY (module, version, with_module, with_version)
);
