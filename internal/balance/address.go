package balance

import (
	"encoding/binary"
	"math/bits"
)

// address chooses by the client's address, so that a client gets the same seat every
// time. Each seat has a number for each client, and the highest wins (rendezvous
// hashing: Thaler and Ravishankar, 1998). So when a seat comes or goes, only clients
// that go to it, or were on it, change. They go back when it is there again.
//
// Clients without an address, behind a Unix socket, are spread evenly.
type address struct{}

func (address) Choose(r *Request, workers []Worker, open Set) int {
	if !r.Client.IsValid() {
		return leastInFlight{}.Choose(r, workers, open)
	}
	ip := r.Client.As16()
	client := mix(mix(binary.BigEndian.Uint64(ip[:8])) ^ binary.BigEndian.Uint64(ip[8:]))
	chosen, highest := open.Next(), uint64(0)
	for s := open; s != 0; s &= s - 1 {
		i := bits.TrailingZeros64(uint64(s))
		if score := mix(client ^ uint64(workers[i].Seat()+1)); score > highest {
			chosen, highest = i, score
		}
	}
	return chosen
}

// mix spreads a change of any bit over all bits: the finalizer of SplitMix64 (Steele,
// Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
