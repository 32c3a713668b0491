//go:build unix && !linux

package process

import "errors"

// ReadUsage is not known here; its error is [errors.ErrUnsupported].
func ReadUsage(pid int) (Usage, error) { return Usage{}, errors.ErrUnsupported }
