package build

import "io/fs"

func ownerOfFile(fs.FileInfo) uint32 { return 0 }
