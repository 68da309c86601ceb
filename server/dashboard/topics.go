package dashboard

// A topic is a page of charts. Lead has a place for its span; Notice, if any, is
// what readers have to know before they read a number.
type topic struct{ Path, Title, Lead, Notice string }

// topics are the pages of charts; nav.go has where they are found. The overview,
// at "/", has a few charts of each.
var topics = []topic{
	{"/adoption", "What the web has adopted", "How versions and protocols spread, %s, as servers see it.", ""},
	{"/instances", "Who counts", "The Caddy servers that reported %s, where they are, and what they run.", ""},
	{"/tls", "How the web is encrypted", "What clients offered, what was agreed on, and why handshakes failed, %s.", ""},
	{"/certificates", "What servers prove themselves with", "Certificates that Caddy obtained and held, %s.", ""},
	{"/clients", "Who asks", "Browsers, bots and tools that made requests %s, as far as the User-Agent tells.", ""},
	{"/interception", "Who listens in", "TLS connections whose ClientHello does not fit the browser that the User-Agent names, %s: most go through a proxy that opens the encryption, a company's, an antivirus's, an attacker's.",
		"What is seen is a mismatch of User-Agent and TLS, and not every mismatch is an interception. A program or a person that changes the User-Agent looks the same. So does a CDN: behind one, or behind another proxy that ends TLS, a server sees that proxy's ClientHellos with everybody's User-Agents, and all of its browsers mismatch."},
	{"/health", "How servers are doing", "How requests were answered %s, how fast, and what went wrong.", ""},
	{"/traffic", "What servers are asked", "Requests, connections and how they came in, %s.", ""},
	{"/inside", "What goes wrong inside Caddy", "Errors that Caddy met %s, and what its process uses.", ""},
	{"/attacks", "Who attacks, and how", "What scanners, floods and robots did to servers, %s. Servers tell these apart on their own; no address leaves them.", ""},
	{"/updates", "How fast fixes arrive", "Releases, how far they have spread, and how Caddy's updates of itself went, %s.", ""},
	{"/about", "What this is, and how far to trust it", "An open view of the Internet's health from the servers' side: Caddy servers that count, and who takes part, %s.", ""},
}

// A section groups charts under a heading, on the page of its topic.
type section struct{ ID, Page, Title, Lead string }

var sections = []section{
	{"participation", "/about", "Who takes part", "Caddy servers that report: all of them by default, until their operator says no."},
	{"versions", "/adoption", "Versions", "Which versions of Caddy, of Go and of plugins run, and how fast they are taken up and left."},
	{"instances", "/instances", "Instances", "Caddy servers that reported, and what they run."},
	{"places", "/instances", "Places", "Where servers are, by the country that their reports come from. Groups too small to be shown are on no map."},
	{"machines", "/instances", "Machines and set-up", "Where they run, how they were installed, and how they are configured."},
	{"adoption", "/adoption", "Protection", "How many connections and requests have what protects them. An offered ECH may be faked (GREASE)."},
	{"protocols", "/adoption", "HTTP and IP", "Which protocols requests come by."},
	{"encryption", "/adoption", "Encryption", "What clients and Caddy agreed on; groups with MLKEM resist quantum computers."},
	{"answers", "/health", "Answers", "How requests were answered."},
	{"speed", "/health", "Speed", "How long a response took, on the server."},
	{"upstreams", "/health", "Upstreams", "How the servers behind reverse proxies did."},
	{"faults", "/health", "Errors", "What went wrong inside Caddy, by kind; never its text."},
	{"traffic", "/traffic", "Traffic", "Requests that they answered."},
	{"network", "/traffic", "Network", "How connections came in."},
	{"load", "/traffic", "Load", "How much was going on at once."},
	{"clients", "/clients", "Clients", "Who asked, as far as the User-Agent tells. It is classified on the instance and never leaves it."},
	{"outcomes", "/tls", "From client to outcome", "Where the ways of TLS connections lead, from the client that opens them."},
	{"hellos", "/tls", "What clients offer", "Read from ClientHellos, the first message of each TLS connection."},
	{"negotiated", "/tls", "What is negotiated", "What clients and Caddy agreed on."},
	{"failures", "/tls", "What fails", "TLS connections that ended before the handshake was complete."},
	{"issuance", "/certificates", "Issuance", "What Caddy obtained, what it renewed, and why it failed."},
	{"held", "/certificates", "In use", "What is in Caddy's cache at the end of each window, and what handshakes were served with."},
	{"hsts", "/clients", "HSTS", "Whether clients that were told to use TLS only (Strict-Transport-Security) do. Instances remember it in bounded memory, by keyed hashes; clients behind one address may be taken for one another."},
	{"verdicts", "/interception", "User-Agent and TLS", "Each connection's ClientHello against that of the client that its User-Agent names. A version newer than the table of signatures is never called inconsistent for being new."},
	{"incidents", "/attacks", "Incidents", "Times in which an instance saw far more of something than is usual for it at that hour of the week."},
	{"behaviour", "/attacks", "Suspicious behaviour", "What attacks are made of. Much of it is harmless, one by one."},
	{"errors", "/inside", "System errors", "What went wrong on the server's side, by kind; never its text."},
	{"runtime", "/inside", "Go runtime", "What Caddy's process uses."},
	{"spread", "/updates", "Adoption of releases", "How fast what is released gets to run."},
	{"updates", "/updates", "How updates went", "Attempts of Caddy to update itself, counted by the process that serves afterwards."},
	{"missing", "/about", "What is missing", "Reports that never arrived; the instance counts them and says so later."},
}
