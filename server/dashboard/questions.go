package dashboard

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/caddy-evergreen/evergreen/wire"
)

// An asked question is what people want to know, and the charts that answer it.
type asked struct {
	ID     string
	Title  string
	Doc    string // what the answer means and what it can't say
	Charts []string
	Lists  []answerLine // what is no chart
}

// An answerLine is a chart as an answer: what it counts, where it is, and how
// the API is asked for it.
type answerLine struct{ Title, Metric, Chart, Query string }

// lines are the charts of q.
func (q *asked) lines() []answerLine {
	var ls []answerLine
	for _, c := range charts {
		if slices.Contains(q.Charts, c.ID) {
			ls = append(ls, answerLine{c.Title, wire.MetricByID(c.Metric).Name, c.page() + "#chart-" + c.ID,
				c.path("/api/v1", url.Values{"range": {"24h"}})})
		}
	}
	return append(ls, q.Lists...)
}

// A questionView fills a section of questions.html.
type questionView struct {
	asked
	Lines []answerLine
}

func questionViews() []questionView {
	var vs []questionView
	for _, q := range questions {
		vs = append(vs, questionView{q, q.lines()})
	}
	return vs
}

func (d *Dashboard) questionsPage(w http.ResponseWriter, r *http.Request) error {
	if err := plainURL(r); err != nil {
		return err
	}
	return d.render(w, r, "questions.html", page{Title: "Questions", Path: "/questions", Body: questionViews()}, http.StatusOK)
}

// questions is what the data set is for. docs/questions.md is made of it.
var questions = []asked{
	{"fleet", "Which Caddy servers are there, and what do they run?",
		"Instances that reported, by version, place, platform and set-up. What an instance serves is guessed on the instance; only the verdict leaves it.",
		[]string{"active", "participation", "joined-left", "versions", "versions-time", "world", "countries", "platforms", "deployments", "features", "plugins", "plugins-time", "go", "go-time", "containers", "protocols-enabled", "sites", "servers", "listeners", "adapters", "installations", "inits", "uptimes", "memory", "cpus", "cpu-features", "kernels", "modules"}, nil},
	{"safe", "Am I safe: is what runs up to date?",
		"Which versions run, of Caddy, of Go and of plugins, and whether what they negotiate is still good. An instance's own page, which `caddy evergreen link` gives a link to, has the same of it alone. Which versions have holes is not in the numbers: compare them with advisories.",
		[]string{"versions", "go", "plugins", "modules", "tls", "ciphers", "held-expiry"}, nil},
	{"releases", "Does a version of Caddy do harm?",
		"What servers of one version answer and where they fail, beside those of the others. Sites differ more than versions do: compare a version with itself over time, too.",
		[]string{"version-answers", "version-errors", "versions", "panics", "config-loads", "log-errors"}, nil},
	{"updates", "Do Caddy's updates of itself go well?",
		"Each attempt, when it ended: a new executable that was watched and does no harm, one that did and was taken back, or one that never served. Counted by the process that serves afterwards, so that an instance which ends for good in the middle counts nothing.",
		[]string{"update-attempts", "update-causes", "update-versions", "update-steps", "spread", "update-duration", "update-step-duration", "update-bytes"}, nil},
	{"requests", "What is asked of them, over which protocol, and how is it answered?",
		"Requests by HTTP version, method and status; requests that the redirect server answers are told apart.",
		[]string{"protocols", "classes", "statuses", "methods", "roles", "upgrades"}, nil},
	{"speed", "How fast are the answers, and how large?",
		"Times are the server's own: what the network adds is not in them.",
		[]string{"first-byte", "first-byte-protocol", "duration-protocol", "request-size", "response-size"}, nil},
	{"load", "How much goes on at once?",
		"The most requests and connections at the same time in a window of five minutes; a mean over instances, never one instance's maximum.",
		[]string{"peak-requests", "peak-connections", "connections"}, nil},
	{"clients", "Who asks?",
		"As the User-Agent claims, looked up in a fixed list on the instance.",
		[]string{"kinds", "browsers", "systems", "bots", "tools"}, nil},
	{"hellos", "What do ClientHellos advertise?",
		"Each TLS connection's first message, read in full over TCP, and as far as Go tells over QUIC. The family of clients is that of the connection's first User-Agent. A JA4 fingerprint is named only if it is in a shipped list.",
		[]string{"hellos", "hellos-parsed", "hello-features", "hello-versions", "hello-legacy", "hello-alpn", "hello-suites", "hello-extensions", "hello-groups", "hello-key-shares", "hello-schemes", "hello-certificate-compression", "hello-compression", "hello-size", "libraries", "fingerprints", "fingerprints-unknown"}, nil},
	{"negotiated", "What do Caddy's ServerHellos say, and what is negotiated?",
		"What clients and Caddy agreed on in handshakes that were completed, how long that took, and how many bytes.",
		[]string{"tls", "groups", "groups-version", "groups-country", "ciphers", "resumption", "alpn", "sni", "retries", "handshake-time", "handshake-time-version", "handshake-bytes", "served", "staples", "adoption-clients"}, nil},
	{"failures", "Why do handshakes fail, and which alerts are raised?",
		"From what was seen on the connection and from Go's error. A client whose handshake failed made no request: the library that its ClientHello looks like is all that is known of it.",
		[]string{"ways", "failures", "failure-causes", "failure-libraries", "alerts", "alert-ways", "alert-libraries"}, nil},
	{"interception", "Which connections are intercepted?",
		"Not what is intercepted is counted, but what does not fit (User-Agent/TLS mismatch): a program or person that changes the User-Agent does not fit either, and behind a CDN no browser does. Likely shares are corrected by the measured errors of the judgement (Rogan–Gladen) and have a confidence interval of 95 %; raw shares are not. Countries are those of the servers. Nothing is kept by network.",
		[]string{"intercepted-clients", "intercepted-countries", "verdicts", "verdict-clients", "verdict-countries", "interceptors"}, nil},
	{"certificates", "How are certificates managed?",
		"Names of certificates never leave an instance. What is held is counted at the end of every window, so that sums over a range say shares, no numbers.",
		[]string{"issued", "issued-occasions", "issuance-failures", "issuance-attempts", "issuance-causes", "issuance-issuers", "revoked", "held", "held-keys", "held-expiry", "held-days", "held-ocsp", "held-names", "chain-length", "chain-lengths", "chain-size", "unseen"}, nil},
	{"hsts", "Which clients do not honour HSTS?",
		"A client is an address and a User-Agent, so several clients behind one address may be taken for one that forgot; a preloaded host's clients come over TLS before they were told. See the operator's guide.",
		[]string{"hsts-plain", "hsts-after", "hsts-occasions", "hsts-given", "hsts-policies", "hsts-preload", "hsts-evictions"}, nil},
	{"adoption", "How often is SNI used? ECH? IPv6? HTTP/3? Post-quantum key exchange?",
		"Shares of connections and of requests. Countries are those of the servers, not of the clients, whose addresses never leave an instance. An ECH extension may be fake (GREASE).",
		[]string{"adoption", "adoption-clients", "adoption-countries", "adoption-requests", "sni", "families", "families-protocol", "ipv6-country", "transport", "protocols", "connections", "groups", "groups-time", "groups-country"}, nil},
	{"attacks", "Which clients behave abnormally, which botnets rise, who is attacked, and who attacks?",
		"An instance compares each minute with what is usual for it at that hour of the week; an incident begins and ends there, and its kind, size, length and number of sources leave, but no address. Where many instances have incidents with a network or a fingerprint of ClientHellos in common in the same hour, they are a campaign, such as a botnet's: campaigns are listed with the networks (ASN), fingerprints, and how they grow.",
		[]string{"timeline", "incidents", "incident-kinds", "incident-sources", "incident-events", "incident-durations", "incident-countries", "incident-networks", "behaviour", "scans", "scan-answers", "sources", "minute-fingerprints"}, []answerLine{
			{"Campaigns", wire.MetricByID(wire.AttackIncidents).Name, "/attacks#campaigns", "/api/v1/campaigns?range=24h"},
		}},
	{"inside", "What goes wrong inside Caddy?",
		"Never the text of an error.",
		[]string{"handler-errors", "panics", "aborted", "log-entries", "loggers", "log-errors", "error-handlers", "upstreams", "upstream-kinds", "issuance-causes", "config-loads", "admin-errors", "storage-errors", "accept-errors", "no-descriptors", "goroutines", "heap", "memory-mapped", "cpu", "gc-pauses", "gc-cycles", "descriptors", "descriptor-share"}, nil},
	{"telemetry", "Is anything missing from these numbers?",
		"Reports that could not be delivered in time and were dropped; the instance counts them and says so later.",
		[]string{"dropped", "dropped-windows"}, nil},
}
