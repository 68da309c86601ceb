//go:build !unix

package rehearse

import "errors"

func descriptor(string) (endpoint, error) {
	return endpoint{}, errors.New("sockets are not passed on this system")
}
