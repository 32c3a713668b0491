package load

import (
	"math"
	"time"

	"tqserver/internal/state"
)

// Values are rounded, so that they change, and wake the readers of the store,
// only when a person would see a difference.

// roundRate keeps one decimal below a hundred and none above.
func roundRate(rate float64) float64 {
	if rounded := math.Round(rate*10) / 10; rounded < 100 {
		return rounded
	}
	return math.Round(rate)
}

// threeDigits rounds to three significant digits.
func threeDigits(d time.Duration) state.Seconds {
	unit := time.Duration(1)
	for d.Round(unit) >= 1000*unit {
		unit *= 10
	}
	return state.Seconds(d.Round(unit))
}

const mebibyte = 1 << 20

func wholeMiB(bytes int64) int64 { return (bytes + mebibyte/2) / mebibyte * mebibyte }

// percent returns the CPU time used, in percent of one CPU.
func percent(used, elapsed time.Duration) int {
	if elapsed <= 0 || used <= 0 {
		return 0
	}
	return int(math.Round(100 * used.Seconds() / elapsed.Seconds()))
}
