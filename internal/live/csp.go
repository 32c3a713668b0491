package live

import (
	"net/http"
	"slices"
	"strings"
)

// channel is how a tab receives changes.
type channel string

const (
	noChannel    channel = ""
	sharedWorker channel = "shared" // by a worker that all tabs share
	leaderTab    channel = "lead"   // by one of the tabs
)

// policies are the policies of a page, all of which apply (Content Security Policy
// Level 3 section 8.1).
type policies []directives

type directives map[string][]string

func parsePolicies(h http.Header) (all policies) {
	for _, line := range h["Content-Security-Policy"] {
		for text := range strings.SplitSeq(line, ",") {
			policy := make(directives)
			for directive := range strings.SplitSeq(text, ";") {
				words := strings.Fields(directive)
				if len(words) == 0 {
					continue
				}
				name := strings.ToLower(words[0])
				if _, twice := policy[name]; !twice {
					policy[name] = words[1:]
				}
			}
			if len(policy) > 0 {
				all = append(all, policy)
			}
		}
	}
	return all
}

// allowedChannel returns the channel that the policies allow, and the nonce that the script
// needs for it.
func (all policies) allowedChannel(host string) (channel, string) {
	nonce := ""
	for _, policy := range all {
		if sandbox, ok := policy["sandbox"]; ok && !(has(sandbox, "allow-scripts") && has(sandbox, "allow-same-origin")) {
			return noChannel, ""
		}
		for _, source := range policy.sources("script-src-elem", "script-src", "default-src") {
			if value, ok := cutNonce(source); ok && nonce == "" {
				nonce = value
			}
		}
	}
	worker, connects := true, true
	for _, policy := range all {
		scripts := policy.sources("script-src-elem", "script-src", "default-src")
		if scripts != nil && !permits(scripts, host) && !hasNonce(scripts, nonce) {
			return noChannel, ""
		}
		if sources := policy.sources("worker-src", "child-src", "script-src", "default-src"); sources != nil && !permits(sources, host) {
			worker = false
		}
		if policy.sources("require-trusted-types-for") != nil {
			worker = false
		}
		if sources := policy.sources("connect-src", "default-src"); sources != nil && !permits(sources, host) {
			connects = false
		}
	}
	switch {
	case worker: // whose connections its own answer's policy is for
		return sharedWorker, nonce
	case connects:
		return leaderTab, nonce
	}
	return noChannel, ""
}

// sources returns the list of the first of these directives that the policy has, nil
// if it has none.
func (policy directives) sources(names ...string) []string {
	for _, name := range names {
		if list, ok := policy[name]; ok {
			return append([]string{}, list...)
		}
	}
	return nil
}

// permits reports whether a list allows the page's own origin.
func permits(sources []string, host string) bool {
	if has(sources, "'strict-dynamic'") { // which takes every source but nonces and hashes away
		return false
	}
	for _, source := range sources {
		source = strings.ToLower(source)
		switch scheme, rest, ok := strings.Cut(source, "://"); {
		case source == "'self'", source == "*", source == "http:":
			return true
		case ok && scheme == "http":
			source = rest
		case ok:
			continue
		}
		if source == strings.ToLower(host) {
			return true
		}
	}
	return false
}

func has(list []string, word string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, word) })
}

func hasNonce(sources []string, nonce string) bool {
	return nonce != "" && slices.ContainsFunc(sources, func(s string) bool {
		value, ok := cutNonce(s)
		return ok && value == nonce
	})
}

// cutNonce returns the value of a nonce source.
func cutNonce(source string) (string, bool) {
	const prefix = "'nonce-"
	if len(source) <= len(prefix)+1 || !strings.EqualFold(source[:len(prefix)], prefix) || source[len(source)-1] != '\'' {
		return "", false
	}
	return source[len(prefix) : len(source)-1], true
}
