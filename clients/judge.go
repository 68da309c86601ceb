package clients

import (
	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Judgement is what a ClientHello says about the client that sent it.
type Judgement struct {
	Verdict wire.Value // of wire.InterceptionVerdict
	Library wire.Value // of wire.TLSLibrary
}

// Judge tells which library a hello looks like, and whether it fits the client
// that the User-Agent names.
func Judge(h *clienthello.Hello, c Client) Judgement {
	return Judgement{wire.InterceptionVerdict.Value("unknown"), wire.TLSLibrary.Value("unknown")}
}

// Family is the client's family, of wire.ClientFamily.
func (c Client) Family() wire.Value { return wire.Other }
