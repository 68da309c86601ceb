package wire

// The numbers of the metrics of what goes wrong inside Caddy: 210 to 239.
const (
	CaddyLogEntries       MetricID = 210
	CaddyLogErrors        MetricID = 211
	CaddyHandlerErrors    MetricID = 212
	CaddyUpstreamFailures MetricID = 213
	CaddyConfigLoads      MetricID = 214
	CaddyAdminErrors      MetricID = 215
	CaddyStorageErrors    MetricID = 216
	CaddyAcceptErrors     MetricID = 217
	CaddyNoDescriptors    MetricID = 218
	CaddyDescriptors      MetricID = 219
	CaddyDescriptorShare  MetricID = 220
	CaddyGoroutines       MetricID = 221
	CaddyHeap             MetricID = 222
	CaddyMemory           MetricID = 223
	CaddyGCPauses         MetricID = 224
	CaddyGCCycles         MetricID = 225
	CaddyCPU              MetricID = 226
)

// The vocabularies of what goes wrong inside Caddy.
var (
	Logger = dimension("logger", "Name of the logger of a Caddy module, which begins with the module's id: the longest name in this list that it is, or lies below. A plugin's is its namespace's (http.handlers, dns.providers, …) or other.",
		"http", "http.auto_https", "http.log", "http.log.error", "http.stdlib",
		"http.handlers", "http.handlers.acme_server", "http.handlers.authentication", "http.handlers.encode", "http.handlers.error",
		"http.handlers.file_server", "http.handlers.headers", "http.handlers.intercept", "http.handlers.log_append", "http.handlers.map",
		"http.handlers.metrics", "http.handlers.push", "http.handlers.request_body", "http.handlers.reverse_proxy",
		"http.handlers.reverse_proxy.health_checker.active", "http.handlers.reverse_proxy.health_checker.passive",
		"http.handlers.rewrite", "http.handlers.static_response", "http.handlers.subroute", "http.handlers.templates", "http.handlers.tracing", "http.handlers.vars",
		"http.authentication", "http.authentication.providers.http_basic", "http.encoders", "http.ip_sources", "http.matchers", "http.matchers.client_ip", "http.matchers.expression",
		"http.matchers.file", "http.matchers.remote_ip", "http.matchers.tls", "http.precompressed", "http.reverse_proxy",
		"http.reverse_proxy.selection_policies", "http.reverse_proxy.transport.fastcgi", "http.reverse_proxy.transport.http", "http.reverse_proxy.upstreams",
		"tls", "tls.obtain", "tls.renew", "tls.renewLockLease", "tls.handshake", "tls.on_demand", "tls.cache", "tls.cache.maintenance", "tls.ech", "tls.clean_storage",
		"tls.ca_pool", "tls.certificates", "tls.client_auth", "tls.context", "tls.get_certificate", "tls.handshake_match", "tls.issuance",
		"tls.issuance.acme", "tls.issuance.acme.acme_client", "tls.issuance.acme.dns_manager", "tls.issuance.internal", "tls.issuance.zerossl", "tls.issuance.zerossl.cname",
		"tls.leaf_cert_loader", "tls.permission", "tls.stek",
		"pki", "pki.ca", "events", "events.handlers", "admin", "admin.api", "admin.identity",
		"caddy", "caddy.config_loaders", "caddy.filesystems", "caddy.listeners", "caddy.listeners.proxy_protocol", "caddy.logging", "caddy.network_proxy", "caddy.storage",
		"dns", "dns.providers", "evergreen", "layer4", "crowdsec", "security", "dynamic_dns", "docker_proxy", "frankenphp", "supervisor", "exec", "ssh", "dns_server")
	LogLevel = dimension("level", "Level of a log entry.",
		"warn", "error", "panic", "fatal")
	ErrorKind = dimension("error", "Kind of an error, by its type or number and never by its text; none if a log entry holds no error value.",
		"none", "refused", "timeout", "dns", "unreachable", "reset", "closed", "tls", "certificate", "canceled", "descriptors",
		"permission", "not_found", "exists", "no_space", "read_only", "no_memory", "in_use", "io", "json", "panic")
	HandlerModule = dimension("handler", "Caddy's HTTP handler whose code made the error; other is a plugin's, or one that carries no trace.",
		"acme_server", "authentication", "encode", "error", "file_server", "headers", "intercept", "map", "push",
		"request_body", "reverse_proxy", "fastcgi", "rewrite", "templates", "tracing", "core")
	UpstreamFailure = dimension("upstream_failure", "Why a reverse proxy could not answer: what happened with the upstream that was tried last. no_upstream is that none was there or healthy; status_5xx that the upstream itself answered so.",
		"refused", "timeout", "dns", "unreachable", "reset", "closed", "tls", "no_upstream", "not_found", "descriptors", "status_5xx")
	ConfigLoad = dimension("load", "What became of a configuration: tried is each one that Caddy began to provision, failed or not.",
		"tried", "failed_provision", "failed_start")
	AdminEndpoint = dimension("endpoint", "Endpoint of the admin API.",
		"/load", "/adapt", "/config/", "/stop", "/metrics", "/pki/", "/reverse_proxy/upstreams", "/evergreen/")
	DescriptorUse = dimension("use", "What a file descriptor was wanted for.",
		"accept", "upstream", "handler", "log")
)

// caddyMetrics are about what goes wrong inside Caddy.
var caddyMetrics = []*Metric{
	{CaddyLogEntries, "caddy.log.entries", KindCounter, Events, []*Dimension{Logger, LogLevel}, "", placed,
		"Entries of level warn and above that Caddy's modules logged, whether or not a log of the user's takes them. Access logs are not counted, nor what Caddy logs outside of modules (the admin endpoint, adapters)."},
	{CaddyLogErrors, "caddy.log.errors", KindCounter, Events, []*Dimension{Logger, ErrorKind}, "", global,
		"The same entries of level error and above, by the kind of the error that the entry holds."},
	{CaddyHandlerErrors, "caddy.handlers.errors", KindCounter, Events, []*Dimension{HandlerModule, StatusClass}, "", placed,
		"Requests whose handler chain returned an error, by the handler that made it and the status that it carries."},
	{CaddyUpstreamFailures, "caddy.upstreams.failures", KindCounter, Events, []*Dimension{UpstreamFailure}, "", placed,
		"Requests that a reverse proxy failed, after its last try, or that were answered with 5xx after an upstream had answered. A client that gave up is not counted."},
	{CaddyConfigLoads, "caddy.config.loads", KindCounter, Events, []*Dimension{ConfigLoad}, "", placed,
		"Configurations that Caddy loaded or tried to. One that fails before its modules are provisioned (no JSON, unusable logs or storage) is seen only as an error of the admin API."},
	{CaddyAdminErrors, "caddy.admin.errors", KindCounter, Events, []*Dimension{AdminEndpoint}, "", placed,
		"Requests to the admin API that ended in an error, by endpoint: at /load and /config/ mostly configurations that were refused. What comes by /id/ counts as /config/."},
	{CaddyStorageErrors, "caddy.storage.errors", KindCounter, Events, []*Dimension{ErrorKind}, "", placed,
		"Log entries of Caddy's TLS and PKI, of level warn and above, that hold an error of the file system, which is where certificates are stored by default."},
	{CaddyAcceptErrors, "caddy.accept.errors", KindCounter, Events, []*Dimension{ErrorKind}, "", placed,
		"Failures to accept a connection on a listener of a configured HTTP server; not that the listener was closed."},
	{CaddyNoDescriptors, "caddy.descriptors.exhausted", KindCounter, Events, []*Dimension{DescriptorUse}, "", placed,
		"Errors that the process or the system had no file descriptor left, by what it was wanted for."},
	{CaddyDescriptors, "caddy.descriptors.open", KindHistogram, Events, nil, "", placed,
		"Open file descriptors of the process, once a window, on Linux."},
	{CaddyDescriptorShare, "caddy.descriptors.share", KindHistogram, Percent, nil, "", placed,
		"Open file descriptors in percent of the process's limit, once a window, on Linux."},
	{CaddyGoroutines, "caddy.runtime.goroutines", KindHistogram, Events, nil, "", placed,
		"Goroutines, once a window."},
	{CaddyHeap, "caddy.runtime.heap", KindHistogram, Bytes, nil, "", placed,
		"Memory of objects on the Go heap, live or not swept yet, once a window."},
	{CaddyMemory, "caddy.runtime.memory", KindHistogram, Bytes, nil, "", placed,
		"Memory that the Go runtime has mapped and not given back to the system, once a window."},
	{CaddyGCPauses, "caddy.runtime.gc_pauses", KindHistogram, Microseconds, nil, "", placed,
		"Time that a garbage collection stopped all goroutines, for each stop; known to an eighth of its length."},
	{CaddyGCCycles, "caddy.runtime.gc_cycles", KindCounter, Events, nil, "", placed,
		"Garbage collections."},
	{CaddyCPU, "caddy.runtime.cpu", KindHistogram, Percent, nil, "", placed,
		"Processor time of the process in a window, in percent of one processor, on Unix."},
}
