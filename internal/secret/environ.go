package secret

import (
	"regexp"
	"slices"
	"strings"
)

// hasCredentials matches a URL that names its user, which may be a token, and a
// name and a password before a host, as database drivers take them without a
// scheme. A password may hold any character, so what follows does not matter.
var hasCredentials = regexp.MustCompile(`(?s)://.*@|^\w*:.*@`)

// workingDirectories are variables whose names end as those of passwords do.
var workingDirectories = []string{"PWD", "OLDPWD"}

// Environ returns an environment, as os.Environ gives it, sorted and with the
// values masked that may be secrets.
func Environ(env []string) []string {
	shown := make([]string, len(env))
	for i, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if value != "" && isSecretVariable(name, value) {
			kv = name + "=" + Masked
		}
		shown[i] = kv
	}
	slices.Sort(shown)
	return shown
}

// isSecretVariable is stricter with names than isSecret: parameters called
// keyword and author are common, variables with a key in their names are not.
func isSecretVariable(name, value string) bool {
	checks := budget(maxChecks)
	plain := normalized(name)
	return strings.Contains(plain, "key") || strings.Contains(plain, "auth") ||
		isSecret(name) && !slices.Contains(workingDirectories, name) ||
		hasCredentials.MatchString(value) || checks.hasSecret(value)
}
