-- Requests a day, by protocol: duckdb -csv < read.sql
SET VARIABLE files = (
  SELECT list('https://SERVICE/dataset/' || file.path)
  FROM (SELECT unnest(files) AS file FROM read_json('https://SERVICE/dataset/manifest.json', maximum_object_size = 100000000))
  WHERE file.metric = 'http.requests' AND file.grain = 'day' AND file.format = 'parquet');

-- Each facet parts the same requests, so that sums are over one of them. A rest
-- is the sum of the groups that are too small to be shown.
SELECT strftime(time, '%Y-%m-%d') AS time, protocol, sum(count)::BIGINT AS count
FROM read_parquet(getvariable('files'))
WHERE facet = 'all' AND NOT rest
GROUP BY ALL ORDER BY ALL;
