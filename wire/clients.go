package wire

// The vocabularies of package clients.
var (
	Browser = dimension("browser", "Browser family.",
		"chrome", "firefox", "safari", "edge")
	BrowserVersion = dimension("browser_version", "Major version, 1 to 399.",
		numbers(1, 399)...)
	ClientOS = dimension("client_os", "Operating system of the client.",
		"windows", "macos", "ios", "android", "linux")
	BotClass = dimension("bot_class", "What a bot is for.",
		"search", "ai", "seo", "monitor", "feed", "preview", "archive", "scanner", "ads")
	Bot = dimension("bot", "A well-known bot.",
		"googlebot", "bingbot")
	Tool = dimension("tool", "A command-line tool or HTTP library.",
		"curl", "wget")
)
