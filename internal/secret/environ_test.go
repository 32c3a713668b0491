package secret

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecretsOfTheEnvironmentAreMasked(t *testing.T) {
	for kv, shown := range map[string]bool{
		"HOME=/home/ann":       true,
		"TQ_PORT=9000":         true,
		"TQ_ROUTE=/a@b":        true,
		"EMPTY=":               true,
		"API_KEY=":             true, // that it is empty is worth knowing
		"MAIL=ann@example.org": true,
		"ENDPOINT=https://example.org:8080/a?b=c": true,
		"REPOSITORY=git@example.org:site":         true,
		"no sign":                                 true,
		"PWD=/home/ann":                           true, // although pwd names a password
		"ENDPOINT=https://example.org/a?page=2":   true,

		"API_KEY=x":                        false,
		"aws_secret_access_key=x":          false,
		"Github_Token=x":                   false,
		"DB_PASSWORD=x":                    false,
		"MYPASSWD=x":                       false,
		"GOOGLE_APPLICATION_CREDENTIALS=x": false,
		"SESSION_COOKIE=a=b":               false,
		"BASIC_AUTH=x":                     false,
		"private_pem=x":                    false,
		"SENTRY_DSN=x":                     false,
		"DATABASE_URL=postgres://ann:p4ss@db/site":      false,
		"DATABASE_URL=postgres://ann:p/4@s s#@db/site":  false,
		"DATABASE_URL=postgres://ann:two\nlines@db/":    false,
		"CACHE=redis://:p4ss@cache:6379":                false,
		"DATABASES=sqlite:a.db,postgres://ann:p4ss@db/": false,
		"REMOTE=https://ghp_0123456789@github.com/a/b":  false,
		"DATABASE=ann:p4ss@tcp(db:3306)/site":           false,
		"HTTPS_PROXY=http://ann:p4ss@proxy:3128":        false,
		"DB_PASSPHRASE=x":                               false,
		"PGPASS=x":                                      false,
		"WEBHOOK=https://example.org/in?token=x":        false,
		"PWD=https://example.org/?sig=x":                false,
		"AUTHOR=Ann":                                    false, // too much rather than too little
	} {
		got := Environ([]string{kv})[0]
		if (got == kv) != shown {
			t.Errorf("%q is shown as %q", kv, got)
		}
	}
}

func TestTheEnvironmentIsSortedAndLeftAsItIs(t *testing.T) {
	env := []string{"B=2", "A_TOKEN=1", "A=x://u:p@h"}
	before := slices.Clone(env)
	if diff := cmp.Diff([]string{"A=***", "A_TOKEN=***", "B=2"}, Environ(env)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, env); diff != "" {
		t.Error(diff)
	}
}
