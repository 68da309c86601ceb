package dashboard

// sqlQuestions are those that the page of SQL has ready. They are about tables
// that nearly every data set has; TestData runs them.
var sqlQuestions = []sqlQuestion{
	{"How many requests are HTTP/3?", `SELECT time, protocol, sum(count) AS requests
FROM day."http.requests"
WHERE facet = 'all' AND NOT rest
GROUP BY ALL ORDER BY time, protocol`},
	{"Where are the instances?", `SELECT value AS country, avg(count) AS instances
FROM day."instances.active"
WHERE facet = 'country' AND NOT rest AND value <> ''
GROUP BY ALL ORDER BY instances DESC LIMIT 25`},
	{"Which TLS versions are agreed on?", `SELECT time, tls_version, sum(count) AS handshakes
FROM day."tls.connections"
WHERE facet = 'all' AND NOT rest
GROUP BY ALL ORDER BY time, tls_version`},
	{"How much of the key exchange is post-quantum?", `SELECT time,
  100.0 * sum(count) FILTER ("group" LIKE '%MLKEM%') / sum(count) AS percent
FROM hour."tls.groups"
WHERE facet = 'all' AND NOT rest
GROUP BY ALL ORDER BY time`},
	{"What share of requests comes by IPv6, by country?", `SELECT value AS country,
  100.0 * sum(count) FILTER (family = 'ipv6') / sum(count) AS percent
FROM day."http.requests.transport"
WHERE facet = 'country' AND NOT rest AND value <> ''
GROUP BY ALL HAVING sum(count) > 100000
ORDER BY percent DESC LIMIT 25`},
	{"When do people ask, and when do bots?", `SELECT hour(time) AS hour_utc, kind, sum(count) AS requests
FROM hour."clients.requests"
WHERE facet = 'all' AND NOT rest
GROUP BY ALL ORDER BY ALL`},
	{"Which bots ask the most?", `SELECT bot_class, bot, sum(count) AS requests
FROM day."clients.bots"
WHERE facet = 'all' AND NOT rest
GROUP BY ALL ORDER BY requests DESC LIMIT 25`},
	{"How fast is the first byte, by protocol?", `SELECT time, protocol, median(p50) / 1000 AS milliseconds
FROM hour."http.first_byte"
WHERE facet = 'all' AND NOT rest AND status_class = '2xx'
GROUP BY ALL ORDER BY time, protocol`},
	{"How quickly is a release adopted?", `SELECT time, version, sum(count) AS instances
FROM day."instances.version"
WHERE facet = 'all' AND NOT rest
GROUP BY ALL ORDER BY time, version`},
	{"How much is only known as a rest?", `SELECT facet, sum(count) FILTER (rest) AS in_rests, sum(count) AS requests,
  round(100.0 * sum(count) FILTER (rest) / sum(count), 2) AS percent
FROM day."http.requests"
GROUP BY ALL ORDER BY ALL`},
}
