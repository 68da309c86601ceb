//go:build unix

package build

import (
	"io/fs"
	"syscall"
)

func ownerOfFile(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }
