package inventory

import "golang.org/x/sys/windows/svc"

func windowsService() bool {
	is, err := svc.IsWindowsService()
	return err == nil && is
}
