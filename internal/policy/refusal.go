package policy

import "time"

// A Refusal is a response that the server gives in a page's place.
type Refusal struct {
	Status  int
	Title   string    // for people, short
	Detail  string    // what it means and what to do; may be empty
	RetryAt time.Time // when to try again; zero if the response does not say so
}
