//go:build unix && !linux

package process

import "errors"

// ReadUsage is not supported here; its error is [errors.ErrUnsupported].
func ReadUsage(pid int) (Usage, error) { return Usage{}, errors.ErrUnsupported }
