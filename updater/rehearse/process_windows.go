package rehearse

import "syscall"

// Here nothing is started: confine refuses.
func killGroup(int)                    {}
func terminate(int)                    {}
func ofOwnGroup() *syscall.SysProcAttr { return nil }
