package server

import (
	"fmt"
	"testing"
)

func TestMemoryIsGivenBackOnceACrowdHasLeft(t *testing.T) {
	for _, test := range []struct {
		connections []int
		want        string
	}{
		{[]int{0, 10000, 6000, 5000, 4000, 0, 0}, "[false false false true false true false]"},
		{[]int{10000, 0, 10000, 0}, "[false true false true]"},
		{[]int{999, 0, 999, 0}, "[false false false false]"},
		{[]int{1000, 1, 0, 0}, "[false false true false]"},
		{[]int{20000, 19000, 10001}, "[false false false]"},
	} {
		var c crowd
		var got []bool
		for _, n := range test.connections {
			got = append(got, c.hasLeft(n))
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%v: %v, want %s", test.connections, got, test.want)
		}
	}
}
