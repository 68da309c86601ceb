package bridge

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// steer obeys take, take-quic and pin.
func (h *Helper) steer(verb string) error {
	var n int
	var err error
	switch verb {
	case "take":
		n, err = steerAll(h.given.Groups, to(1), nil)
	case "take-quic":
		n, err = steerAll(h.given.Groups, nil, quicTo(1, 0))
	case "pin":
		n, err = steerAll(h.given.Groups, to(0), to(0))
	}
	if err == nil && n != len(h.given.Groups) {
		err = fmt.Errorf("the helper listens on %d of %d addresses", n, len(h.given.Groups))
	}
	h.log("steered", "how", verb, "groups", n, "error", err)
	return err
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 1)
	if err != nil {
		return 0, errors.New("a helper yields to 0 or 1")
	}
	return uint32(n), nil
}

func (h *Helper) steerTo(s string) error {
	n, err := number(s)
	if err == nil {
		_, err = steerAll(h.given.Groups, to(n), nil)
	}
	return err
}

func (h *Helper) steerQUICTo(s string) error {
	n, err := number(s)
	if err == nil {
		_, err = steerAll(h.given.Groups, nil, quicTo(n, 1-n))
	}
	return err
}

func closeOnExec(fd int) { unix.CloseOnExec(fd) }
