//go:build !linux

package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"
)

// Supported returns nil where connections can be steered, else why not.
func Supported() error {
	return fmt.Errorf("%s has no way to steer connections between the sockets of a port (Linux has, since 4.6)", runtime.GOOS)
}

// Survey lists the process's listening sockets where it can.
func Survey() ([]Socket, error) { return nil, Supported() }

// Switch needs Linux; see InPlace.
func Switch(context.Context, Options) error { return &StepError{StepSurvey, Supported()} }

// A process's own sockets aren't looked for here: Server.Stop has to return
// only when its connections have finished.
func left([]group, []uint16) (int, int, time.Duration, error) {
	return 0, 0, 20 * time.Millisecond, errors.ErrUnsupported
}

func ownAddresses(func(string, netip.AddrPort) bool) ([]group, []uint16) { return nil, nil }

// What follows is never reached: no helper is started here.

func (h *Helper) steer(string) error       { return Supported() }
func (h *Helper) steerTo(string) error     { return Supported() }
func (h *Helper) steerQUICTo(string) error { return Supported() }
func (n *Next) takeOver(context.Context) error {
	return Supported()
}
func detach([]group) error { return nil }
