package wire

// The vocabularies of package clients.
var (
	Browser = dimension("browser", "Browser family, or the app in whose embedded browser a page is shown.",
		"chrome", "firefox", "safari", "edge", "chrome-ios", "chrome-webview", "firefox-ios", "safari-webview",
		"opera", "opera-mini", "samsung", "brave", "vivaldi", "yandex", "uc", "qq", "wechat", "whale", "duckduckgo",
		"ie", "android-browser", "silk", "facebook", "messenger", "instagram", "line", "snapchat", "tiktok",
		"twitter", "pinterest", "linkedin", "telegram", "weibo", "kakaotalk", "google-app", "naver", "baidu", "miui",
		"huawei", "honor", "heytap", "vivo", "lenovo", "coc-coc", "360", "sogou", "maxthon", "puffin", "ecosia",
		"avast", "avg", "aloha", "phoenix", "quark", "seznam", "sber", "chromium", "iron", "waterfox", "pale-moon",
		"seamonkey", "basilisk", "icecat", "konqueror", "falkon", "epiphany", "qutebrowser", "midori", "otter",
		"oculus", "dolphin", "blackberry", "nokia", "netfront", "ladybird", "text")
	BrowserVersion = dimension("browser_version", "Major version, 1 to 399.",
		numbers(1, 399)...)
	ClientOS = dimension("client_os", "Operating system of the client.",
		"windows", "macos", "ios", "android", "linux", "chromeos", "windows-phone", "windows-mobile", "freebsd",
		"openbsd", "netbsd", "solaris", "harmonyos", "tizen", "webos", "kaios", "tvos", "watchos", "visionos",
		"roku", "playstation", "xbox", "nintendo", "fuchsia", "blackberry", "symbian", "sailfish", "haiku")
	BotClass = dimension("bot_class", "What a bot is for.",
		"search", "ai", "seo", "monitor", "feed", "preview", "archive", "scanner", "ads")
	Bot = dimension("bot", "A well-known bot.",
		"googlebot", "bingbot", "google-inspectiontool", "googleother", "storebot-google", "msnbot", "yandexbot",
		"baiduspider", "duckduckbot", "applebot", "slurp", "sogou-spider", "360spider", "petalbot", "seznambot",
		"yeti", "qwantbot", "mojeekbot", "coccocbot", "yisouspider", "exabot", "daum", "mail-ru-bot", "bravebot",
		"yacybot", "marginalia", "ask", "nutch", "gptbot", "chatgpt-user", "oai-searchbot", "claudebot",
		"claude-user", "claude-searchbot", "anthropic-ai", "perplexitybot", "perplexity-user", "bytespider",
		"tiktokspider", "ccbot", "amazonbot", "meta-externalagent", "meta-externalfetcher", "facebookbot",
		"google-cloudvertexbot", "cohere-ai", "ai2bot", "diffbot", "omgili", "youbot", "mistralai-user", "timpibot",
		"imagesiftbot", "img2dataset", "pangubot", "duckassistbot", "firecrawl", "icc-crawler", "ahrefsbot",
		"semrushbot", "mj12bot", "dotbot", "rogerbot", "blexbot", "dataforseobot", "serpstatbot", "seokicks",
		"screaming-frog", "sistrix", "barkrowler", "megaindex", "awariobot", "botify", "seobilitybot", "linkdexbot",
		"uptimerobot", "pingdom", "statuscake", "site24x7", "better-uptime", "newrelic", "datadog", "catchpoint",
		"dynatrace", "uptime-kuma", "checkly", "hetrixtools", "freshping", "google-monitoring", "elb-health-checker",
		"kube-probe", "blackbox-exporter", "updown-io", "nagios", "zabbix", "consul", "lets-encrypt", "cloudflare",
		"chrome-lighthouse", "gtmetrix", "webpagetest", "w3c-validator", "feedly", "feedbin", "inoreader",
		"newsblur", "tiny-tiny-rss", "freshrss", "miniflux", "netnewswire", "feedfetcher-google", "theoldreader",
		"bazqux", "flipboard", "superfeedr", "newsgator", "bloglovin", "podcasts", "facebookexternalhit",
		"twitterbot", "linkedinbot", "slackbot", "discordbot", "telegrambot", "whatsapp", "skypeuripreview",
		"pinterestbot", "redditbot", "embedly", "iframely", "fediverse", "bluesky", "vkshare", "google-image-proxy",
		"yahoo-mail-proxy", "bingpreview", "google-web-preview", "snap-url-preview", "viber", "archive-org",
		"ia_archiver", "heritrix", "archiveteam", "arquivo", "httrack", "bnf", "grub", "zgrab", "masscan", "censys",
		"nmap", "nuclei", "shodan", "internet-measurement", "palo-alto-expanse", "nikto", "sqlmap", "wpscan", "ffuf",
		"gobuster", "dirbuster", "feroxbuster", "leakix", "openvas", "nessus", "qualys", "acunetix", "onyphe",
		"shadowserver", "binaryedge", "detectify", "whatweb", "netcraft", "odin", "cloudsystemnetworks", "wfuzz",
		"zmap", "adsbot-google", "mediapartners-google", "adidxbot", "criteobot", "proximic", "grapeshot", "ias",
		"doubleverify", "adstxtcrawler", "amazonadbot", "taboolabot", "google-adwords")
	Tool = dimension("tool", "A command-line tool or HTTP library.",
		"curl", "wget", "python-requests", "python-urllib", "aiohttp", "httpx", "python", "go-http-client",
		"go-resty", "fasthttp", "okhttp", "axios", "node-fetch", "undici", "node", "got", "superagent", "deno",
		"bun", "java", "apache-httpclient", "jersey", "spring", "async-http-client", "netty", "dotnet", "restsharp",
		"powershell", "winhttp", "perl", "php", "guzzle", "symfony-http", "wordpress", "ruby", "faraday",
		"rest-client", "httprb", "httparty", "dart", "rust-reqwest", "rust-ureq", "libsoup", "lua-resty", "postman",
		"insomnia", "httpie", "bruno", "scrapy", "headless-chrome", "phantomjs", "selenium", "aws-sdk", "google-api",
		"azure-sdk", "k6", "wrk", "apachebench", "hey", "jmeter", "locust", "siege", "git", "docker", "apt", "dnf",
		"npm", "pip", "cargo", "homebrew", "rclone", "aria2", "webdav", "lftp", "caddy", "nginx", "haproxy",
		"prometheus", "acme-client")
)
