// Package secret decides what may be shown of environments, requests and URLs,
// and masks the rest.
//
// Names decide: the value of a variable or a parameter whose name is that of a
// secret is not shown. The rules err on the side of silence: a value masked
// without need costs somebody a guess, a secret that is shown costs somebody an
// account. The package only computes.
package secret

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Masked stands for a value that is not shown. It is ASCII, as access logs are.
const Masked = "***"

// What marks a secret in a name that has neither capitals, nor digits at its
// end, nor anything that is not a letter or a digit.
var (
	secretParts = []string{"password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "credential", "signature", "session", "cookie", "private", "dsn"}
	secretEnds  = []string{"key", "keys", "auth", "authorization", "authcode", "pass", "pwd", "sig", "sid", "jwt", "otp", "assertion", "verifier", "bearer"}
	secretNames = []string{"code", "devicecode", "usercode", "pin", "ticket", "samlresponse"}
)

// isSecret reports whether the value of a parameter of this name is a secret. A
// name that cannot be decoded counts as one.
func isSecret(name string) bool {
	name, ok := decoded(name)
	if !ok {
		return true
	}
	name = normalized(name)
	return slices.Contains(secretNames, name) ||
		slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(name, end) }) ||
		slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(name, part) })
}

func normalized(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= utf8.RuneSelf {
			return r
		}
		return -1
	}, strings.ToLower(strings.ToUpper(name))) // both, as some letters that are no ASCII have ASCII in another case
	return strings.TrimRight(name, "0123456789")
}
