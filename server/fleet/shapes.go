package fleet

import "github.com/caddy-evergreen/evergreen/wire"

// A base is what a metric's counts are proportional to.
type base uint8

const (
	requests    base = iota // that the fleet answers
	connections             // that it accepts
	held                    // instances times windows: what is counted once in each
	attacks                 // as requests of attackers, which botnets multiply
	updating                // instances that upgrade
)

// A design is how a metric's counts come about.
type design struct {
	base base
	rate float64 // counts for each of the base
	// Cells: a line for each block of cells, which are the product of one list
	// for each dimension, parted by bars. An item may have a weight, by default
	// 1. A metric without a line has the first few values of each dimension.
	cells string
	// Of a histogram: the median in the metric's unit and how wide it is, as
	// the factor between the median and the third quartile.
	median, spread float64
}

const (
	families   = "chromium=46, safari=17, firefox=9, bot=8, search-bot=6, app=4, curl=3, go=2.5"
	suites13   = "TLS_AES_128_GCM_SHA256=78, TLS_AES_256_GCM_SHA384=15, TLS_CHACHA20_POLY1305_SHA256=7"
	suites12   = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256=5, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384=2, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256=2, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256=1"
	protocols  = "http/2=58, http/3=24, http/1.1=17, http/1.0=1"
	statuses   = "200=71, 304=9, 404=5, 301=4, 206=3, 302=2.4, 308=1.5, 403=1.1, 401=0.8, 204=0.7, 500=0.45, 502=0.4, 429=0.3, 400=0.3, 503=0.2, 405=0.1, 410=0.08, 499=0.05, 504=0.05, 307=0.05"
	classes    = "2xx=75, 3xx=16.5, 4xx=7.4, 5xx=1.1"
	libraries  = "boringssl=48, apple=17, nss=9, openssl=12, go=6, java=2, schannel=2, gnutls=1, rustls=2, unknown=1"
	management = "automatic=90, on-demand=6, loaded=4"
)

// designs are the metrics that have a character; all others get a plain one.
var designs = map[wire.MetricID]design{
	wire.HTTPRequests:          {base: requests, rate: 1, cells: protocols + " | " + statuses + " | site=96\nhttp/1.1 | 308 | redirect=2.1"},
	wire.HTTPRequestsMethod:    {base: requests, rate: 1, cells: "GET=84, POST=10, HEAD=3.4, OPTIONS=1.2, PUT=0.6, DELETE=0.3, PATCH=0.3, PROPFIND=0.15 | " + classes + " | site=98\nGET=9, HEAD=1 | 3xx | redirect=0.2"},
	wire.HTTPRequestsTransport: {base: requests, rate: 1, cells: "tls | ipv4=59, ipv6=41 | " + protocols + " | site=96\nplain | ipv4=70, ipv6=30 | http/1.1 | site=1, redirect=2.1"},
	wire.HTTPRequestBytes:      {base: requests, rate: 1, cells: protocols + " | " + classes, median: 900, spread: 4},
	wire.HTTPResponseBytes:     {base: requests, rate: 1, cells: protocols + " | " + classes, median: 6200, spread: 5},
	wire.HTTPFirstByte:         {base: requests, rate: 1, cells: protocols + " | " + classes, median: 2300, spread: 2.6},
	wire.HTTPDuration:          {base: requests, rate: 1, cells: protocols + " | " + classes, median: 7000, spread: 3},
	wire.HTTPHandlerErrors:     {base: requests, rate: 0.012, cells: "404=60, 502=18, 403=9, 500=5, 503=4, 400=2, 401=2 | site"},
	wire.HTTPPanics:            {base: requests, rate: 2e-8, cells: "http/2, http/3, http/1.1"},
	wire.HTTPAborted:           {base: requests, rate: 0.006, cells: "http/2=6, http/3=2, http/1.1=2 | before_header=1, after_header=3"},
	wire.HTTPUpgrades:          {base: requests, rate: 0.001, cells: "websocket=9, connect=0.3, h2c=0.2 | http/1.1=6, http/2=4"},
	wire.HTTPRequestsPeak:      {base: held, rate: 1, median: 5, spread: 3},
	wire.Connections:           {base: connections, rate: 1, cells: protocols + " | ipv4=60, ipv6=40 | tls=95, plain=5 | site"},
	wire.ConnectionsPeak:       {base: held, rate: 1, median: 14, spread: 3},

	wire.ClientRequests:  {base: requests, rate: 1, cells: "browser=60, bot=22, app=8, tool=7, none=3 | " + protocols},
	wire.ClientBrowsers:  {base: requests, rate: 0.6, cells: "chrome=50 | 138, 139, 140, 141, 142, 143\nedge=9 | 140, 141, 142, 143\nsafari=17 | 26=7, 18=8, 17=2\nchrome-ios=4 | 141, 142, 143\nfirefox=9 | 144=3, 145=5, 140=1\nsamsung=3 | 28=2, 27=1\nopera=2 | 123=1, 124=1\nchrome=1 | 109"},
	wire.ClientPlatforms: {base: requests, rate: 0.6, cells: "windows=38, android=24, ios=17, macos=13, linux=7, chromeos=1 | browser=9, app=1"},
	wire.ClientBots:      {base: requests, rate: 0.22, cells: "search | googlebot=30, bingbot=14, yandexbot=6, applebot=5, petalbot=3, baiduspider=2\nai | gptbot=12, claudebot=11, bytespider=8, meta-externalagent=9, amazonbot=7, oai-searchbot=4, perplexitybot=3, ccbot=2\nseo | ahrefsbot=9, semrushbot=8, mj12bot=4, dotbot=3\nmonitor | uptimerobot=5, uptime-kuma=4, better-uptime=2, blackbox-exporter=2\npreview | facebookexternalhit=3, fediverse=6, discordbot=1\nfeed | feedly=2, freshrss=2, miniflux=1\nscanner | censys=2, zgrab=2, internet-measurement=1"},
	wire.ClientTools:     {base: requests, rate: 0.07, cells: "curl=22, python-requests=14, go-http-client=22, okhttp=9, axios=6, wget=4, node-fetch=4, aiohttp=4, java=3, dotnet=3, git=3, prometheus=3, docker=2, caddy=1"},

	wire.TLSConnections: {base: connections, rate: 0.95, cells: "TLS 1.3=92 | " + suites13 + " | full=6, resumed=4\nTLS 1.2=0.8 | " + suites12 + " | full=7, resumed=3"},
	wire.TLSGroups:      {base: connections, rate: 0.95, cells: "X25519MLKEM768=52, X25519=36, secp256r1=4 | TLS 1.3\nX25519=4, secp256r1=3, none=0.3 | TLS 1.2"},
	wire.TLSALPN:        {base: connections, rate: 0.95, cells: "h2=66, h3=21, http/1.1=9, none=4, acme-tls/1=0.01"},
	wire.TLSSNI:         {base: connections, rate: 0.95, cells: "present=98.6, absent=1.4"},

	wire.TLSHellos:                {base: connections, rate: 1, cells: "parsed=995 | tcp=78, quic=22 | " + families + "\nmalformed=1 | tcp | unknown"},
	wire.TLSHelloVersions:         {base: connections, rate: 2.7, cells: "TLS 1.3=95, TLS 1.2=97, GREASE=60, TLS 1.1=4, TLS 1.0=4 | " + families},
	wire.TLSHelloFeatures:         {base: connections, rate: 9, cells: "grease=62, server_name=98, ech=55, psk=30, session_ticket=80, post_quantum_group=64, post_quantum_key_share=60, early_data=8, extended_master_secret=90, status_request=85, sct=70, certificate_compression=66, application_settings=50, renegotiation_info=80 | " + families},
	wire.TLSHelloJA4Unknown:       {base: held, rate: 30, cells: "tcp=8, quic=2"},
	wire.TLSHelloSize:             {base: connections, rate: 0.78, cells: "parsed", median: 1750, spread: 1.3},
	wire.TLSLibraries:             {base: connections, rate: 0.78, cells: libraries + " | " + families},
	wire.TLSFailures:              {base: connections, rate: 0.045, cells: "connect_and_close=30, plain_http=16, closed_after_hello=9, no_certificate=12, client_unknown_ca=5, reset=6, timeout=5, no_common_version=4, garbage=4, closed_in_hello=2, client_bad_certificate=2, client_certificate_expired=1, malformed_hello=0.5, client_cancelled=1 | unknown=6, openssl=4, boringssl=3, go=2, apple=1"},
	wire.TLSAlerts:                {base: connections, rate: 0.018, cells: "internal_error=30, protocol_version=10, handshake_failure=6, no_application_protocol=4 | server | openssl=4, go=2, unknown=3, boringssl=1\nunknown_ca=12, bad_certificate=6, certificate_unknown=6, certificate_expired=3, user_canceled=2 | client | openssl=4, go=2, apple=2, boringssl=3, java=1"},
	wire.TLSRetries:               {base: connections, rate: 0.75, cells: "absent=98.5, present=1.5 | TLS 1.3"},
	wire.TLSHandshakeTime:         {base: connections, rate: 0.75, cells: "TLS 1.3=92, TLS 1.2=8 | full=6, resumed=4", median: 52_000, spread: 2.4},
	wire.TLSHandshakeBytes:        {base: connections, rate: 1.5, cells: "client, server=1 | full=6, resumed=4", median: 2900, spread: 1.5},
	wire.TLSCertificates:          {base: connections, rate: 0.57, cells: "ecdsa-p256=93, rsa-2048=5, rsa-4096=1, ecdsa-p384=1 | not_asked=3, none=6, stapled=1"},
	wire.ConnectionFeatures:       {base: connections, rate: 4.9, cells: "all=100, tls=95, sni=93, ech_offered=52, ech_accepted=0.3, ipv6=40, http3=21, pq_offered=60, pq_negotiated=52, tls13=88, resumed=36, early_data=2 | " + families},
	wire.RequestFeatures:          {base: requests, rate: 5, cells: "all=100, tls=97, sni=96, ech_offered=54, ech_accepted=0.3, ipv6=41, http3=24, pq_offered=63, pq_negotiated=55, tls13=92, resumed=40, early_data=2 | " + families},
	wire.TLSInterception:          {base: connections, rate: 0.72, cells: "consistent=96, inconsistent=1.1, unknown=2.9 | chromium=46, safari=17, firefox=9, curl=3, go=2.5, python=2\nunknown | bot=8, search-bot=6, app=4"},
	wire.TLSInterceptionLibraries: {base: connections, rate: 0.72, cells: libraries + " | consistent=96, inconsistent=1.1, unknown=3"},

	wire.CertificatesIssued:   {base: held, rate: 0.0018, cells: "letsencrypt=92, zerossl=5, google=1, internal=2 | obtain=2, renew=8"},
	wire.CertificatesAttempts: {base: held, rate: 0.0024, cells: "obtain=4, renew=8"},
	wire.CertificatesFailed:   {base: held, rate: 0.0006, cells: "acme:dns=30, acme:unauthorized=22, acme:connection=18, acme:rateLimited=8, ca:dns=4, timeout=3, challenge:propagation=4, acme:caa=1 | letsencrypt=9, zerossl=1 | obtain=6, renew=4"},
	wire.CertificatesHeld:     {base: held, rate: 7, cells: management + " | letsencrypt=90, zerossl=6, internal=3, google=1"},
	wire.CertificatesKeys:     {base: held, rate: 7, cells: "ecdsa-p256=94, rsa-2048=3, ecdsa-p384=2, rsa-4096=1 | " + management},
	wire.CertificatesOCSP:     {base: held, rate: 7, cells: "no_responder=95, good=3, unanswered=1, off=0.6, revoked=0.01 | " + management},
	wire.CertificatesExpiry:   {base: held, rate: 7, cells: "60d-90d=50, 30d-60d=42, 14d-30d=4, 7d-14d=1, 3d-7d=0.6, 1d-3d=0.4, <1d=0.3, expired=0.6, 180d-398d=1 | " + management},
	wire.CertificatesDays:     {base: held, rate: 7, cells: management, median: 58, spread: 1.3},
	wire.CertificatesChain:    {base: connections, rate: 0.57, median: 2, spread: 1.2},

	wire.HSTSPolicies: {base: requests, rate: 0.97, cells: "none=68, 1y-2y=16, 180d-1y=6, 2y+=8, 0=0.5, 30d-180d=1, invalid=0.2 | included=6, not-included=4 | preload=3, no-preload=7"},

	wire.AttackBehaviour:         {base: attacks, rate: 4, cells: "not_found=50, scan=14, denied=16, server_error=9, bad_request=3, slow=2, aborted=5, silent=4, handshake_abandoned=6, reset_streams=0.2 | ipv4=82, ipv6=18"},
	wire.AttackScans:             {base: attacks, rate: 1, cells: "wordpress=30, env_files=18, php=14, git=9, admin=6, phpmyadmin=5, router=4, vpn=4, backups=4, webshell=3, traversal=2, injection=2, java=1, cloud_metadata=1 | 4xx=88, 3xx=7, 2xx=5"},
	wire.AttackIncidents:         {base: attacks, rate: 4e-4, cells: "scan=50, not_found_burst=14, request_flood=12, credential_stuffing=9, handshake_flood=5, connection_flood=5, error_burst=3, slow_requests=1, rapid_reset=0.5 | 1=30, 2-4=26, 5-16=18, 17-64=12, 65-256=8, 257-1024=4, 1025-4096=2"},
	wire.AttackIncidentEvents:    {base: attacks, rate: 0.4, cells: "scan=30, not_found_burst=14, request_flood=40, credential_stuffing=9, handshake_flood=5, connection_flood=5"},
	wire.AttackIncidentDuration:  {base: attacks, rate: 4e-4, cells: "scan=50, not_found_burst=14, request_flood=12, credential_stuffing=9, handshake_flood=5", median: 4e8, spread: 3},
	wire.AttackSourceMinutes:     {base: held, rate: 4.2, cells: "1=34, 2-4=32, 5-16=20, 17-64=10, 65-256=3, 257-1024=1"},
	wire.AttackFingerprintMinute: {base: held, rate: 3.9, cells: "1=40, 2-4=38, 5-16=18, 17-64=4"},

	wire.CaddyLogEntries:       {base: requests, rate: 0.004, cells: "http.log.error=50, http.handlers.reverse_proxy=12, http.stdlib=9 | error=9, warn=1\ntls.obtain=5, tls.issuance.acme=5, http=4 | error=6, warn=4"},
	wire.CaddyHandlerErrors:    {base: requests, rate: 0.012, cells: "reverse_proxy=30, file_server=50, fastcgi=5, core=5, authentication=4 | 4xx=7, 5xx=3"},
	wire.CaddyUpstreamFailures: {base: requests, rate: 0.006, cells: "refused=40, status_5xx=30, timeout=10, no_upstream=6, dns=6, closed=4, reset=3, tls=1"},
	wire.CaddyConfigLoads:      {base: held, rate: 0.004, cells: "tried=97, failed_provision=2, failed_start=1"},
	wire.CaddyDescriptors:      {base: held, rate: 1, median: 42, spread: 2},
	wire.CaddyDescriptorShare:  {base: held, rate: 1, median: 2, spread: 2},
	wire.CaddyGoroutines:       {base: held, rate: 1, median: 68, spread: 2},
	wire.CaddyHeap:             {base: held, rate: 1, median: 21e6, spread: 1.8},
	wire.CaddyMemory:           {base: held, rate: 1, median: 58e6, spread: 1.6},
	wire.CaddyGCPauses:         {base: held, rate: 8, median: 90, spread: 2},
	wire.CaddyGCCycles:         {base: held, rate: 4},
	wire.CaddyCPU:              {base: held, rate: 1, median: 2, spread: 2.5},

	wire.UpdateAttempts: {base: updating, rate: 1, cells: "healthy=95 | none\nrolled-back | harm=1, crash=0.6, start=0.4\nfailed | network=1.2, rehearsal=0.7, modules=0.5, space=0.3, kernel=0.2"},
	wire.UpdateEnded:    {base: updating, rate: 1, cells: "watching | healthy=95, rolled-back=2\ndownloading=1.5, rehearsing=0.9, checked=0.6 | failed"},
	wire.UpdateStepTime: {base: updating, rate: 5, cells: "checked, downloading=3, verified=0.4, rehearsing=5, switching=0.5, watching=40", median: 3e6, spread: 4},
	wire.UpdateTime:     {base: updating, rate: 1, cells: "healthy=95, rolled-back=2, failed=3", median: 9e8, spread: 1.5},
	wire.UpdateBytes:    {base: updating, rate: 1, cells: "bsdiff=70, zstd-patch=18, zstd=9, whole=3", median: 3e6, spread: 1.9},

	// What an instance must not have: it would be about the telemetry itself.
	wire.TelemetryDroppedReports: {base: held, rate: 2e-6, cells: "age=7, size=3"},
	wire.TelemetryDroppedWindows: {base: held, rate: 6e-6, cells: "age=7, size=3"},
}

// A drift changes a value's share over time: it doubles, or halves if it is
// negative, in so many days, up to the end, when it has its weight.
type drift struct{ dim, value string }

// drifts are days of doubling.
var drifts = map[drift]float64{
	{"protocol", "http/3"}: 400, {"alpn", "h3"}: 400, {"connection_feature", "http3"}: 400,
	{"group", "X25519MLKEM768"}: 330, {"connection_feature", "pq_negotiated"}: 330, {"connection_feature", "pq_offered"}: 420,
	{"hello_feature", "post_quantum_group"}: 420, {"hello_feature", "post_quantum_key_share"}: 380,
	{"connection_feature", "ech_offered"}: 500, {"connection_feature", "ech_accepted"}: 90, {"hello_feature", "ech"}: 500,
	{"tls_version", "TLS 1.2"}: -380, {"protocol", "http/1.0"}: -500, {"family", "ipv6"}: 900, {"connection_feature", "ipv6"}: 900,
	{"bot_class", "ai"}: 130, {"kind", "bot"}: 420, {"verdict", "inconsistent"}: -900, {"max_age", "none"}: -900,
}

// rolling are versions of browsers that follow each other: the share of one
// passes to the next within two weeks of its coming out, this many days before
// the end.
var rolling = map[string]map[string]float64{
	"chrome":     {"138": 145, "139": 117, "140": 89, "141": 61, "142": 33, "143": 5},
	"edge":       {"140": 85, "141": 57, "142": 29, "143": 3},
	"chrome-ios": {"141": 58, "142": 30, "143": 2},
	"firefox":    {"144": 40, "145": 12},
}
