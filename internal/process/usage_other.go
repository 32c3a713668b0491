//go:build unix && !linux

package process

import "errors"

// Sample is not known here; its error is [errors.ErrUnsupported].
func Sample(pid int) (Usage, error) { return Usage{}, errors.ErrUnsupported }
