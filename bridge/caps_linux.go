package bridge

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// File capabilities of the installed executable ("setcap
// cap_net_bind_service=+ep") belong to that file. A candidate has none, so what
// this process holds is handed on as ambient capabilities. They are kept in the
// inheritable set and in the ambient one, by thread.

// capabilities reads this thread's sets.
func capabilities() (effective, permitted, inheritable uint64, err error) {
	var data [2]unix.CapUserData
	err = unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
	join := func(lo, hi uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }
	return join(data[0].Effective, data[1].Effective), join(data[0].Permitted, data[1].Permitted),
		join(data[0].Inheritable, data[1].Inheritable), err
}

// missingAmbient lists the capabilities that execve would take away. Root's
// are given to whatever root executes.
func missingAmbient() []uintptr {
	if os.Geteuid() == 0 {
		return nil
	}
	_, permitted, _, err := capabilities()
	if err != nil {
		return nil
	}
	var out []uintptr
	for c := uintptr(0); c < 64; c++ {
		if permitted&(1<<c) == 0 {
			continue
		}
		set, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, c, 0, 0)
		if err == nil && set == 0 {
			out = append(out, c)
		}
	}
	return out
}

// keepCapabilities makes this thread's capabilities survive execve.
func keepCapabilities() error {
	missing := missingAmbient()
	if len(missing) == 0 {
		return nil
	}
	effective, permitted, inheritable, err := capabilities()
	if err != nil {
		return err
	}
	inheritable |= permitted
	data := [2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(permitted), Inheritable: uint32(inheritable)},
		{Effective: uint32(effective >> 32), Permitted: uint32(permitted >> 32), Inheritable: uint32(inheritable >> 32)},
	}
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return err
	}
	var errs []error
	for _, c := range missing {
		errs = append(errs, unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0))
	}
	return errors.Join(errs...)
}
