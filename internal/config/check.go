package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// noNUL refuses texts that no system call would take.
func noNUL(text string) error {
	if strings.Contains(text, "\x00") {
		return errors.New("must not contain a NUL character")
	}
	return nil
}

var leadingZero = regexp.MustCompile(`^[+-]?0[0-9_]+$`)

// wholeNumber parses an integer as YAML writes it. One that begins with a zero is
// octal in some versions of YAML and decimal in others, so that it is refused.
func wholeNumber(text string, least, most int64) (int64, error) {
	if leadingZero.MatchString(text) {
		return 0, fmt.Errorf("must be written without the zero before it, not %s", text)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n > most:
		return 0, fmt.Errorf("must be at most %d, not %s", most, text)
	case err != nil:
		return 0, fmt.Errorf("must be a whole number, not %s", text)
	case n < least:
		return 0, fmt.Errorf("must be at least %d, not %s", least, text)
	}
	return n, nil
}

func notEmpty(text string) error {
	if text == "" {
		return errors.New("must not be empty")
	}
	return nil
}

func folder(text string) error { return cmp.Or(notEmpty(text), notHome(text)) }

// notHome refuses paths that would be folders called ~.
func notHome(text string) error {
	if strings.HasPrefix(text, "~") {
		return fmt.Errorf("must not begin with ~, which only shells replace: write the whole path, not %q", text)
	}
	return nil
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// template returns a check for the path of a log file with placeholders.
func template(allowed ...string) func(string) error {
	return func(text string) error {
		if strings.HasSuffix(text, "/") {
			return fmt.Errorf("must name a file, not the folder %q", text)
		}
		if err := notHome(text); err != nil {
			return err
		}
		for _, p := range placeholder.FindAllString(text, -1) {
			if !slices.Contains(allowed, p) {
				return fmt.Errorf("must not contain %s: only %s is replaced here", p, strings.Join(allowed, " or "))
			}
		}
		return nil
	}
}

var byteCount = regexp.MustCompile(`^([0-9]+)(B|KiB|MiB|GiB|TiB)?$`)

// memoryLimit refuses what the Go runtime would refuse in GOMEMLIMIT, and with
// it to start the worker.
func memoryLimit(text string) error {
	if text == "off" {
		return nil
	}
	_, err := memory(text)
	return err
}

// memory parses a number of bytes as the Go runtime does
// (runtime.parseByteCount). Nothing is none.
func memory(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	m := byteCount.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf(`must be a number with one of the units B, KiB, MiB, GiB, TiB, such as "512MiB", not %q`, text)
	}
	shift := map[string]uint{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("must be less than 8388608TiB, not %q", text)
	}
	return n << shift, nil
}

// route checks a key of workers.paths or paths, and a path of static.
func route(text string) error {
	if !strings.HasPrefix(text, "/") || path.Clean(text) != text {
		return errors.New(`must be a route such as "/api": it begins with / and does not end with one`)
	}
	return nil
}

// headerValue refuses what may not stand in a header field (RFC 9110 section
// 5.5).
func headerValue(text string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("must be on one line, without control characters")
	}
	return nil
}

// prefix parses a range of addresses, or a single one.
func prefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf(`must be addresses such as "10.0.0.0/8" or "::1", not %q`, text)
	}
	if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// variable checks a key of build.env.
func variable(text string) error {
	if !variableName.MatchString(text) {
		return errors.New("must be the name of an environment variable: letters, digits and _")
	}
	return nil
}
