package policy

import (
	"net/http"

	"tqserver/internal/accesslog"
)

// A Gate lets a request pass, for which it returns nil, or refuses it. It may wait
// for something, as long as the context of the request lasts. It is called by many
// goroutines at once.
type Gate func(*Exchange) *Refusal

// A Writer returns what the response is written to in the place of w, and what
// ends that: the function is called when the response was written, or was cut
// short. It returns w and nil if it has nothing to change.
type Writer func(x *Exchange, w http.ResponseWriter) (http.ResponseWriter, func(whole bool))

// A Policy is what holds for the requests of a path. It does not change.
type Policy struct {
	AccessLog accesslog.Settings

	gates   []Gate   // in the order in which a request meets them
	writers []Writer // the first is the next to the client
}

// Check returns the refusal of the first gate that lets the request not pass, or
// nil.
func (p *Policy) Check(x *Exchange) *Refusal {
	for _, gate := range p.gates {
		if refusal := gate(x); refusal != nil {
			return refusal
		}
	}
	return nil
}

// Wrap puts the writers around w. The function that it returns, if it is not nil,
// must be called when the response was written, or was cut short. Nothing is
// written after that.
func (p *Policy) Wrap(x *Exchange, w http.ResponseWriter) (http.ResponseWriter, func(whole bool)) {
	var end func(whole bool)
	for _, writer := range p.writers {
		wrapped, endOuter := writer(x, w)
		w = wrapped
		if endOuter != nil {
			end = chain(endOuter, end)
		}
	}
	return w, end
}

// chain returns a function that ends an outer writer, and then the one within it,
// to which the outer one may still write. What the inner one gets is not whole if
// the outer one panics.
func chain(outer, inner func(whole bool)) func(whole bool) {
	if inner == nil {
		return outer
	}
	return func(whole bool) {
		ended := false
		defer func() { inner(whole && ended) }()
		outer(whole)
		ended = true
	}
}
