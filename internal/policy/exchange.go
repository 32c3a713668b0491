package policy

import (
	"net/http"
	"net/netip"
)

// An Exchange is a request, and what is known of its response, as gates and writers
// see it. It belongs to the goroutine of the request, and is not to be kept.
type Exchange struct {
	Request  *http.Request // its path has no dot segments; its context ends when the client disconnects
	Client   netip.Addr    // of who sent it, as far as trusted proxies know; may be invalid
	Route    string        // of the page that the request is for; empty for none
	Document bool          // a tab or a frame of a browser is to show the response
	Header   http.Header   // fields that the response has whoever makes it, in the place of the page's own
	MaxBody  int64         // bytes that the request's body may have; 0 for any number
}
