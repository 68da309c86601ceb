package boot

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// KeepCapabilities has what the calling thread executes next keep the
// capabilities that this process has, such as that to bind port 443, which the
// installed executable's file may have given it and a slot's file does not. The
// caller has locked the goroutine to its thread. undo takes it back if executing
// fails: else children would inherit them. Root needs none of it.
func KeepCapabilities() (undo func() error, err error) {
	nothing := func() error { return nil }
	if os.Geteuid() == 0 {
		return nothing, nil
	}
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before [2]unix.CapUserData
	if err := unix.Capget(&h, &before[0]); err != nil {
		return nothing, fmt.Errorf("reading them: %w", err)
	}
	after := before
	var raise []uintptr
	for i := range after {
		after[i].Inheritable |= after[i].Permitted
		for bit := range 32 {
			if after[i].Permitted&(1<<bit) != 0 {
				raise = append(raise, uintptr(32*i+bit))
			}
		}
	}
	if len(raise) == 0 {
		return nothing, nil
	}
	if err := unix.Capset(&h, &after[0]); err != nil {
		return nothing, fmt.Errorf("making them inheritable: %w", err)
	}
	var raised []uintptr
	undo = func() error {
		var errs []error
		for _, c := range raised {
			errs = append(errs, unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, c, 0, 0))
		}
		return errors.Join(append(errs, unix.Capset(&h, &before[0]))...)
	}
	for _, c := range raise {
		// One that is there already is somebody else's, and stays.
		if had, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, c, 0, 0); err == nil && had == 1 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return nothing, errors.Join(fmt.Errorf("raising capability %d: %w", c, err), undo())
		}
		raised = append(raised, c)
	}
	return undo, nil
}
