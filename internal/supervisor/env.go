package supervisor

import (
	"regexp"
	"slices"
	"strings"
)

// masked stands for a value that is not told.
const masked = "•••"

var (
	secretKey = regexp.MustCompile(`(?i)SECRET|TOKEN|PASSWORD|PASSWD|KEY|CREDENTIAL|COOKIE|AUTH|PRIVATE|DSN`)
	// A URL that names its user, which may be a token, or a name and a password
	// before a host, as database drivers take them without a scheme. A password
	// may hold whatever it likes, so that what follows is not looked at.
	secretValue = regexp.MustCompile(`(?s)://.*@|^\w*:.*@`)
)

// tellable is an environment as it may be told: sorted, and without the values
// that may be secret. It would rather mask too much.
func tellable(env []string) []string {
	told := make([]string, len(env))
	for i, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		if value != "" && (secretKey.MatchString(key) || secretValue.MatchString(value)) {
			kv = key + "=" + masked
		}
		told[i] = kv
	}
	slices.Sort(told)
	return told
}
