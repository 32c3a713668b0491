// Package balance chooses which of a page's workers gets a request.
//
// Each policy is a file of its own and a line in policies, which is all that has to be
// added for a new one: the configuration takes its names from there. A policy names
// workers by their index and clients by their request. It takes no lock, allocates
// nothing, and knows of no connection: whether a worker can take requests at all is
// decided elsewhere. The package starts no goroutines.
package balance

import (
	"math/bits"
	"math/rand/v2"
	"net/http"
	"net/netip"

	"tqserver/internal/secret"
)

// policies are what there is, by name. The first is the default.
var policies = []kind{
	{name: "least_in_flight", make: func(Options) Policy { return leastInFlight{} }},
	{name: "round_robin", make: func(Options) Policy { return new(roundRobin) }},
	{name: "random_two", make: func(Options) Policy { return randomTwo{} }},
	{name: "address", make: func(Options) Policy { return address{} }},
	{name: "cookie", make: newCookie, marks: true},
}

// A kind is a policy that can be chosen.
type kind struct {
	name  string
	make  func(Options) Policy
	marks bool // the response may get a cookie: it chooses even if there is one worker
}

// Most is how many workers a page can have.
const Most = 64

// A Policy chooses workers. It is called by many goroutines at once.
type Policy interface {
	// Choose returns the index of the worker that is to get a request, or another
	// attempt of it. Only those in open can get it; there is one at least.
	Choose(r *Request, workers []Worker, open Set) int
}

// A Worker is what a policy knows of a worker.
type Worker interface {
	Seat() int     // its place in the page, which its successor will have, below Most
	InFlight() int // requests that it has now
}

// A Request is what a policy knows of a request.
type Request struct {
	HTTP   *http.Request
	Client netip.Addr // who sent it; may be invalid
	Secure bool       // the client uses TLS

	// SetCookie is what the response is to have in Set-Cookie, or empty. Choose sets it.
	SetCookie string
}

// Options are what policies are made with.
type Options struct {
	Route string     // of the page
	Key   secret.Key // that cookies are signed with
}

// Names returns the names of all policies, of which the first is the default.
func Names() []string {
	names := make([]string, len(policies))
	for i, p := range policies {
		names[i] = p.name
	}
	return names
}

// New returns a policy by its name, and the default one if there is none of that name.
// Marks reports whether it must be asked even where there is no choice.
func New(name string, opts Options) (p Policy, marks bool) {
	for _, k := range policies {
		if k.name == name {
			return k.make(opts), k.marks
		}
	}
	return policies[0].make(opts), policies[0].marks
}

// A Set is a set of workers: bit i is set if the worker with index i is in it.
type Set uint64

// First returns the set of the first n indices, at most Most.
func First(n int) Set { return 1<<n - 1 }

// Has reports whether an index is in the set.
func (s Set) Has(i int) bool { return s>>i&1 == 1 }

// With returns the set and an index.
func (s Set) With(i int) Set { return s | 1<<i }

// Without returns the set without an index.
func (s Set) Without(i int) Set { return s &^ (1 << i) }

// Len returns how many indices are in the set.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// Next returns the lowest index in the set. There must be one.
func (s Set) Next() int { return bits.TrailingZeros64(uint64(s)) }

// at returns the nth index in the set, from 0.
func (s Set) at(n int) int {
	for range n {
		s &= s - 1
	}
	return s.Next()
}

// random returns any index in the set.
func (s Set) random() int { return s.at(rand.IntN(s.Len())) }
