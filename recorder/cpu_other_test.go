//go:build !unix

package recorder

import "testing"

func reportCPU(*testing.B) func() { return func() {} }
