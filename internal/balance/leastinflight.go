package balance

import (
	"math/bits"
	"math/rand/v2"
)

// leastInFlight chooses a worker with the fewest requests, so that a slow one gets
// fewer. Of several it takes any: otherwise the first would get all requests of a page
// with little to do.
type leastInFlight struct{}

func (leastInFlight) Choose(_ *Request, workers []Worker, open Set) int {
	least, chosen := 0, -1
	from := rand.IntN(len(workers))
	for part := range 2 { // those from there on, and then the others
		for s := open & [2]Set{^First(from), First(from)}[part]; s != 0; s &= s - 1 {
			i := bits.TrailingZeros64(uint64(s))
			if n := workers[i].InFlight(); chosen < 0 || n < least {
				least, chosen = n, i
			}
		}
	}
	return chosen
}
