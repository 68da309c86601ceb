package slots

import "os"

// openToSync opens a file for writing, which syncing asks for here. The names
// in a folder are the file system's own affair.
func openToSync(name string) (*os.File, error) {
	if i, err := os.Stat(name); err != nil || i.IsDir() {
		return nil, err
	}
	return os.OpenFile(name, os.O_RDWR, 0)
}
