package balance

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
)

// CookieName is the name of the cookie that says on which seat a client is. No page
// sees it.
const CookieName = "tq_worker"

// cookie keeps a client on a seat by a cookie that names it. A client without one gets
// the worker with the fewest requests, and a cookie.
//
// What the cookie says is signed together with the route, so that nobody chooses a
// worker. There are few values, so that all are made beforehand: a request costs no
// hash.
type cookie struct {
	values [Most]string    // by seat
	set    [Most][2]string // Set-Cookie by seat, plain and over TLS
}

func newCookie(opts Options) Policy {
	c := new(cookie)
	path := strings.ReplaceAll((&url.URL{Path: opts.Route}).EscapedPath(), ";", "%3B") // which ends an attribute
	for seat := range Most {
		mac := hmac.New(sha256.New, opts.Key[:])
		fmt.Fprintf(mac, "%s\x00%s\x00%d", CookieName, opts.Route, seat)
		c.values[seat] = fmt.Sprintf("%d.%s", seat, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]))
		c.set[seat][0] = fmt.Sprintf("%s=%s; Path=%s; HttpOnly; SameSite=Lax", CookieName, c.values[seat], path)
		c.set[seat][1] = c.set[seat][0] + "; Secure"
	}
	return c
}

func (c *cookie) Choose(r *Request, workers []Worker, open Set) int {
	r.SetCookie = ""
	if i, ok := c.named(r, workers, open); ok {
		return i
	}
	i := leastInFlight{}.Choose(r, workers, open)
	secure := 0
	if r.Secure {
		secure = 1
	}
	r.SetCookie = c.set[workers[i].Seat()][secure]
	return i
}

// named returns the worker in the seat that the request's cookie names. A browser sends
// those of all paths above, which other pages set, too.
func (c *cookie) named(r *Request, workers []Worker, open Set) (worker int, ok bool) {
	for _, line := range r.HTTP.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			value, ours := valueOf(pair)
			if !ours {
				continue
			}
			for s := open; s != 0; s &= s - 1 {
				if subtle.ConstantTimeCompare([]byte(value), []byte(c.values[workers[s.Next()].Seat()])) == 1 {
					return s.Next(), true
				}
			}
		}
	}
	return 0, false
}

// valueOf returns the value of a pair of a Cookie field, if it is of our cookie.
func valueOf(pair string) (value string, ours bool) {
	name, value, found := strings.Cut(strings.Trim(pair, " \t"), "=")
	return value, found && name == CookieName
}

// StripCookie returns a line of a Cookie field without our cookie. It may be empty then.
func StripCookie(line string) string {
	if !strings.Contains(line, CookieName) {
		return line
	}
	var kept []string
	for pair := range strings.SplitSeq(line, ";") {
		if _, ours := valueOf(pair); !ours {
			kept = append(kept, strings.Trim(pair, " \t"))
		}
	}
	return strings.Join(kept, "; ")
}
