//go:build !linux

package rehearse

import "os"

func runningExecutable() (string, error) { return os.Executable() }

// resident is not known here: the limit on memory that confine sets holds.
func resident(int) uint64 { return 0 }

// group is not known here.
func group(int) (uint64, int) { return 0, 0 }

func freeMemory() uint64 { return 0 }
