package policy

import (
	"net/http"
	"time"
)

// A Refusal is a response that the server gives in a page's place.
type Refusal struct {
	Status  int
	Title   string      // for people, short
	Detail  string      // what it means and what to do; may be empty
	RetryAt time.Time   // when to try again (Retry-After); zero if the response does not say so
	Header  http.Header // further fields of the response, such as WWW-Authenticate; may be nil
}
