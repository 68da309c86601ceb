//go:build e2e

package linked_test

func init() {
	rarer = []platform{{"linux", "s390x", "-s -w"}, {"linux", "arm", "-s -w"}, {"freebsd", "amd64", ""}}
}
