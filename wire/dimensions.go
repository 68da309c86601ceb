package wire

import "strconv"

// The vocabularies. Values are only ever appended: their positions are on the wire.
var (
	Protocol = dimension("protocol", "HTTP version.",
		"http/1.0", "http/1.1", "http/2", "http/3")
	Method = dimension("method", "Request method; only registered ones are named.",
		"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH",
		"MKCALENDAR", "ACL", "BIND", "UNBIND", "REBIND", "LINK", "UNLINK", "LABEL", "MERGE",
		"MKACTIVITY", "MKWORKSPACE", "CHECKIN", "CHECKOUT", "UNCHECKOUT", "UPDATE",
		"VERSION-CONTROL", "BASELINE-CONTROL", "ORDERPATCH", "UPDATEREDIRECTREF", "MKREDIRECTREF", "PRI")
	Status = dimension("status", "Status code, 100 to 599.",
		numbers(100, 599)...)
	StatusClass = dimension("status_class", "First digit of the status code.",
		"1xx", "2xx", "3xx", "4xx", "5xx")
	Role = dimension("role", "Whether a server is one of the configuration's, or the one that Caddy adds to redirect HTTP to HTTPS.",
		"site", "redirect")
	Transport = dimension("transport", "Whether the connection is encrypted.",
		"plain", "tls")
	Family = dimension("family", "Address family of the connection.",
		"ipv4", "ipv6", "unix")
	AbortPhase = dimension("phase", "How far the response had come.",
		"before_header", "after_header")
	Upgrade = dimension("upgrade", "The protocol that was upgraded to.",
		"websocket", "h2c", "connect-udp", "connect-ip", "webtransport", "connect")

	ClientKind = dimension("kind", "Kind of client, from its User-Agent; none if it sent none.",
		"browser", "bot", "tool", "app", "none")

	TLSVersion = dimension("tls_version", "Negotiated TLS version.",
		"TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3")
	Resumption = dimension("resumption", "Whether the handshake resumed a session.",
		"full", "resumed")
	Presence = dimension("presence", "Whether something was there.",
		"present", "absent")
	ALPN = dimension("alpn", "Application protocol negotiated in the handshake; none if there was no extension.",
		"none", "http/1.0", "http/1.1", "h2", "h3", "acme-tls/1")

	DropReason = dimension("reason", "Why the spool dropped a report.",
		"size", "age", "rejected", "unreadable")

	OS = dimension("os", "Operating system that Caddy was built for (GOOS).",
		"linux", "darwin", "windows", "freebsd", "openbsd", "netbsd", "dragonfly", "solaris", "illumos", "aix", "android")
	Arch = dimension("arch", "Architecture that Caddy was built for (GOARCH).",
		"amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "ppc64", "s390x", "loong64", "mips", "mipsle", "mips64", "mips64le")
	Kernel = dimension("kernel", "Kernel family and, for Linux, its major and minor version's line.",
		"linux-2", "linux-3", "linux-4", "linux-5", "linux-6", "linux-7", "linux-8",
		"darwin", "windows", "freebsd", "openbsd", "netbsd", "dragonfly", "solaris", "illumos", "aix")
	CountClass = dimension("count", "A count, by class.",
		"0", "1", "2", "3-4", "5-8", "9-16", "17-32", "33-64", "65-128", "129-256", "257-1024", "1025-4096", "4097-16384", "16385+")
	CPUFeature = dimension("cpu_feature", "Instruction set extension that matters to a web server.",
		"aes", "pclmulqdq", "sha", "avx", "avx2", "avx512f", "bmi2", "vaes", "gfni", "sha2", "sha3", "sha512", "sve", "sve2")
	MemoryClass = dimension("memory", "Memory that Caddy may use: the machine's or the container's limit.",
		"<256M", "256M-512M", "512M-1G", "1G-2G", "2G-4G", "4G-8G", "8G-16G", "16G-32G", "32G-64G", "64G-128G", "128G+")
	Container = dimension("container", "Kind of container, or none.",
		"none", "docker", "podman", "kubernetes", "lxc", "systemd-nspawn", "wsl", "jail")
	Init = dimension("init", "What started Caddy.",
		"systemd", "openrc", "runit", "s6", "launchd", "windows-service", "supervisor", "container-entrypoint", "terminal")
	Installation = dimension("installation", "How the executable was installed: a package manager's file, or not.",
		"dpkg", "rpm", "apk", "pacman", "homebrew", "nix", "snap", "portage", "pkg", "image", "unpackaged")
	UptimeClass = dimension("uptime", "Time since the process started.",
		"<10m", "10m-1h", "1h-6h", "6h-1d", "1d-3d", "3d-7d", "7d-30d", "30d-90d", "90d-1y", "1y+")
	ServerProtocol = dimension("server_protocol", "Protocol enabled on a server.",
		"h1", "h2", "h2c", "h3")
	Adapter = dimension("adapter", "Format that the configuration was written in.",
		"json", "caddyfile", "yaml", "toml", "json5", "jsonc", "nginx", "hcl", "cue", "dhall")
	DeploymentKind = dimension("deployment", "What an instance serves, guessed on the instance.",
		"production", "local", "internal", "unknown")
)

func numbers(from, to int) []string {
	s := make([]string, 0, to-from+1)
	for i := from; i <= to; i++ {
		s = append(s, strconv.Itoa(i))
	}
	return s
}
