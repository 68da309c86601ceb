package wire

import "slices"

// The numbers of the dictionary's metrics. Numbers are never used again.
const (
	HTTPRequests          MetricID = 1
	HTTPRequestsMethod    MetricID = 2
	HTTPRequestsTransport MetricID = 3
	HTTPRequestBytes      MetricID = 4
	HTTPResponseBytes     MetricID = 5
	HTTPFirstByte         MetricID = 6
	HTTPDuration          MetricID = 7
	HTTPHandlerErrors     MetricID = 8
	HTTPPanics            MetricID = 9
	HTTPAborted           MetricID = 10
	HTTPUpgrades          MetricID = 11
	HTTPRequestsPeak      MetricID = 12

	Connections     MetricID = 20
	ConnectionsPeak MetricID = 21

	ClientRequests  MetricID = 30
	ClientBrowsers  MetricID = 31
	ClientPlatforms MetricID = 32
	ClientBots      MetricID = 33
	ClientTools     MetricID = 34

	TLSConnections MetricID = 40
	TLSGroups      MetricID = 41
	TLSALPN        MetricID = 42
	TLSSNI         MetricID = 43

	TelemetryDroppedReports MetricID = 60
	TelemetryDroppedWindows MetricID = 61

	InstancesActive       MetricID = 80
	InstancesVersion      MetricID = 81
	InstancesGo           MetricID = 82
	InstancesPlatform     MetricID = 83
	InstancesKernel       MetricID = 84
	InstancesCPUs         MetricID = 85
	InstancesCPUFeatures  MetricID = 86
	InstancesMemory       MetricID = 87
	InstancesContainer    MetricID = 88
	InstancesInit         MetricID = 89
	InstancesInstallation MetricID = 90
	InstancesUptime       MetricID = 91
	InstancesSites        MetricID = 92
	InstancesListeners    MetricID = 93
	InstancesServers      MetricID = 94
	InstancesProtocols    MetricID = 95
	InstancesAdapter      MetricID = 96
	InstancesFeatures     MetricID = 97
	InstancesDeployment   MetricID = 98
	InstancesModules      MetricID = 99
	InstancesPlugins      MetricID = 100
)

var (
	everywhere = []Facet{All, Country, Version, Platform, Deployment}
	placed     = []Facet{All, Country, Version}
	global     = []Facet{All}
)

// metrics is the dictionary. Files of their own hold what belongs together.
var metrics = slices.Concat(trafficMetrics, tlsMetrics, certificateMetrics, attackMetrics, caddyMetrics, updateMetrics)

var trafficMetrics = []*Metric{
	{HTTPRequests, "http.requests", KindCounter, Events, []*Dimension{Protocol, Status, Role}, "", everywhere,
		"Requests answered, by exact status code. A request that was aborted before its status is other."},
	{HTTPRequestsMethod, "http.requests.method", KindCounter, Events, []*Dimension{Method, StatusClass, Role}, "", placed,
		"Requests answered, by method."},
	{HTTPRequestsTransport, "http.requests.transport", KindCounter, Events, []*Dimension{Transport, Family, Protocol, Role}, "", placed,
		"Requests answered, by TLS or plain and by the client's address family."},
	{HTTPRequestBytes, "http.request.size", KindHistogram, Bytes, []*Dimension{Protocol, StatusClass}, "", global,
		"Body bytes read from the client for a request."},
	{HTTPResponseBytes, "http.response.size", KindHistogram, Bytes, []*Dimension{Protocol, StatusClass}, "", global,
		"Body bytes written to the client for a request."},
	{HTTPFirstByte, "http.first_byte", KindHistogram, Microseconds, []*Dimension{Protocol, StatusClass}, "", placed,
		"Time from the start of a request's handling to the first byte of its response header."},
	{HTTPDuration, "http.duration", KindHistogram, Microseconds, []*Dimension{Protocol, StatusClass}, "", placed,
		"Time from the start of a request's handling to its end."},
	{HTTPHandlerErrors, "http.errors.handler", KindCounter, Events, []*Dimension{Status, Role}, "", placed,
		"Requests whose handler chain returned an error, by the status that the error carries."},
	{HTTPPanics, "http.errors.panic", KindCounter, Events, []*Dimension{Protocol}, "", placed,
		"Requests whose handler panicked. Go's deliberate http.ErrAbortHandler is not counted."},
	{HTTPAborted, "http.errors.aborted", KindCounter, Events, []*Dimension{Protocol, AbortPhase}, "", placed,
		"Requests that the client gave up on before the response was complete."},
	{HTTPUpgrades, "http.upgrades", KindCounter, Events, []*Dimension{Upgrade, Protocol}, "", placed,
		"Connections or streams that a request turned into another protocol (101, or extended CONNECT)."},
	{HTTPRequestsPeak, "http.requests.peak", KindPeak, Events, nil, "", global,
		"The most requests that were being handled at once in a window."},

	{Connections, "connections", KindCounter, Events, []*Dimension{Protocol, Family, Transport, Role}, "", placed,
		"Connections, when they end: by the protocol of their first request, or other if they had none."},
	{ConnectionsPeak, "connections.peak", KindPeak, Events, nil, "", global,
		"The most connections that were open at once in a window."},

	{ClientRequests, "clients.requests", KindCounter, Events, []*Dimension{ClientKind, Protocol}, "", placed,
		"Requests by kind of client, as its User-Agent claims."},
	{ClientBrowsers, "clients.browsers", KindCounter, Events, []*Dimension{Browser, BrowserVersion}, "", placed,
		"Requests of browsers, by family and major version, as the User-Agent claims."},
	{ClientPlatforms, "clients.platforms", KindCounter, Events, []*Dimension{ClientOS, ClientKind}, "", placed,
		"Requests by the client's operating system, as the User-Agent claims."},
	{ClientBots, "clients.bots", KindCounter, Events, []*Dimension{BotClass, Bot}, "", placed,
		"Requests of bots, by class and name, as the User-Agent claims."},
	{ClientTools, "clients.tools", KindCounter, Events, []*Dimension{Tool}, "", placed,
		"Requests of command-line tools and HTTP libraries, as the User-Agent claims."},

	{TLSConnections, "tls.connections", KindCounter, Events, []*Dimension{TLSVersion, CipherSuite, Resumption}, "", placed,
		"Completed TLS handshakes by version, cipher suite and resumption."},
	{TLSGroups, "tls.groups", KindCounter, Events, []*Dimension{Group, TLSVersion}, "", placed,
		"Completed TLS handshakes by the key exchange's group."},
	{TLSALPN, "tls.alpn", KindCounter, Events, []*Dimension{ALPN}, "", placed,
		"Completed TLS handshakes by negotiated application protocol."},
	{TLSSNI, "tls.sni", KindCounter, Events, []*Dimension{Presence}, "", placed,
		"Completed TLS handshakes with and without a server name."},

	{TelemetryDroppedReports, "telemetry.dropped.reports", KindCounter, Events, []*Dimension{DropReason}, "", global,
		"Reports that the instance dropped from its spool before they were stored."},
	{TelemetryDroppedWindows, "telemetry.dropped.windows", KindCounter, Events, []*Dimension{DropReason}, "", global,
		"Windows that were in dropped reports."},

	{InstancesActive, "instances.active", KindDistinct, Events, nil, "", everywhere,
		"Different instances that reported."},
	{InstancesVersion, "instances.version", KindInstances, Events, nil, "version", placed[:2],
		"Instances by Caddy version."},
	{InstancesGo, "instances.go", KindInstances, Events, nil, "go_version", global,
		"Instances by the Go version that Caddy was built with."},
	{InstancesPlatform, "instances.platform", KindInstances, Events, []*Dimension{OS, Arch}, "", placed,
		"Instances by operating system and architecture."},
	{InstancesKernel, "instances.kernel", KindInstances, Events, []*Dimension{Kernel}, "", placed,
		"Instances by kernel family."},
	{InstancesCPUs, "instances.cpus", KindInstances, Events, []*Dimension{CountClass}, "", placed,
		"Instances by number of logical CPUs that Caddy may use."},
	{InstancesCPUFeatures, "instances.cpu_features", KindInstances, Events, []*Dimension{CPUFeature, Arch}, "", global,
		"Instances by CPU feature; an instance counts for each feature that it has."},
	{InstancesMemory, "instances.memory", KindInstances, Events, []*Dimension{MemoryClass}, "", placed,
		"Instances by memory that Caddy may use."},
	{InstancesContainer, "instances.container", KindInstances, Events, []*Dimension{Container}, "", placed,
		"Instances by kind of container."},
	{InstancesInit, "instances.init", KindInstances, Events, []*Dimension{Init}, "", placed,
		"Instances by what started Caddy."},
	{InstancesInstallation, "instances.installation", KindInstances, Events, []*Dimension{Installation}, "", placed,
		"Instances by how the executable was installed."},
	{InstancesUptime, "instances.uptime", KindInstances, Events, []*Dimension{UptimeClass}, "", placed,
		"Instances by time since the process started."},
	{InstancesSites, "instances.sites", KindInstances, Events, []*Dimension{CountClass}, "", placed,
		"Instances by number of host names in the configuration."},
	{InstancesListeners, "instances.listeners", KindInstances, Events, []*Dimension{CountClass}, "", global,
		"Instances by number of listener addresses of HTTP servers."},
	{InstancesServers, "instances.servers", KindInstances, Events, []*Dimension{CountClass}, "", global,
		"Instances by number of HTTP servers."},
	{InstancesProtocols, "instances.protocols", KindInstances, Events, []*Dimension{ServerProtocol}, "", placed,
		"Instances by protocol enabled on at least one server; an instance counts for each."},
	{InstancesAdapter, "instances.adapter", KindInstances, Events, []*Dimension{Adapter}, "", placed,
		"Instances by configuration format."},
	{InstancesFeatures, "instances.features", KindInstances, Events, []*Dimension{Feature}, "", placed,
		"Instances by standard feature in use; an instance counts for each."},
	{InstancesDeployment, "instances.deployment", KindInstances, Events, []*Dimension{DeploymentKind}, "", placed,
		"Instances by a guess, made on the instance, of what they serve."},
	{InstancesModules, "instances.modules", KindInstances, Events, nil, "module", global,
		"Instances by Go module and version in the build list."},
	{InstancesPlugins, "instances.plugins", KindInstances, Events, nil, "plugin", global,
		"Instances by Caddy plugin (a Go module that registers Caddy modules) and version."},
}
