package dashboard

import "github.com/caddy-evergreen/evergreen/wire"

var clientsCharts = []chart{
	{ID: "kinds", Section: "clients", Title: "Kinds of client", Doc: "Requests in each period; none sent no User-Agent.",
		Form: area, Metric: wire.ClientRequests, Ask: "by=time,kind", Overview: true, Own: true, Wide: true},
	{ID: "browsers", Section: "clients", Title: "Browsers", Doc: "Requests of browsers in the range.",
		Form: rank, Metric: wire.ClientBrowsers, Ask: "by=browser,browser_version&limit=8", Own: true},
	{ID: "systems", Section: "clients", Title: "Operating systems", Doc: "Requests in the range by the client's system.",
		Form: rank, Metric: wire.ClientPlatforms, Ask: "by=client_os&limit=8", Own: true},
	{ID: "bots", Section: "clients", Title: "Bots", Doc: "Requests of bots in the range.",
		Form: rank, Metric: wire.ClientBots, Ask: "by=bot,bot_class&limit=8", Own: true},
	{ID: "tools", Section: "clients", Title: "Tools and libraries", Doc: "Requests of command-line tools and HTTP libraries in the range.",
		Form: rank, Metric: wire.ClientTools, Ask: "by=tool&limit=8", Own: true},
}
