package dashboard

// Paths are the dashboard's, as its table has them.
func Paths() []string {
	var paths []string
	for _, r := range new(Dashboard).table() {
		paths = append(paths, r.path)
	}
	return paths
}
