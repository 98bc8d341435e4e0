package stat

import (
	"math"
	"testing"
)

// TestArgMax: the first of equals, as NumPy's argmax; a NaN is never larger.
func TestArgMax(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want int
	}{{nil, 0}, {[]float64{3}, 0}, {[]float64{1, 2, 2}, 1}, {[]float64{-3, -1, -2}, 1}, {[]float64{1, math.NaN(), 2}, 2}} {
		if got := ArgMax(c.v); got != c.want {
			t.Errorf("ArgMax(%v) = %d, want %d", c.v, got, c.want)
		}
	}
}
