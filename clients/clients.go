package clients

import "github.com/caddy-evergreen/evergreen/wire"

// The kinds of client: values of wire.ClientKind.
const (
	Other wire.Value = iota
	Browser
	Bot
	Tool
	App
	None
)

// A Client is what a User-Agent claims, in values of the dictionary.
type Client struct {
	Kind     wire.Value // wire.ClientKind
	Browser  wire.Value // wire.Browser, of browsers
	Version  wire.Value // wire.BrowserVersion, of browsers
	OS       wire.Value // wire.ClientOS
	BotClass wire.Value // wire.BotClass, of bots
	Bot      wire.Value // wire.Bot, of bots
	Tool     wire.Value // wire.Tool, of tools
}
