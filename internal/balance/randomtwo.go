package balance

// randomTwo takes any two workers and chooses the one with fewer requests. It is nearly
// as even as [leastInFlight] and looks at two workers only (Mitzenmacher, The Power of
// Two Choices in Randomized Load Balancing, 2001).
type randomTwo struct{}

func (randomTwo) Choose(_ *Request, workers []Worker, open Set) int {
	one := open.random()
	if open = open.Without(one); open == 0 {
		return one
	}
	other := open.random()
	if workers[other].InFlight() < workers[one].InFlight() {
		return other
	}
	return one
}
