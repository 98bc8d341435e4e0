package stat

import "cmp"

// ArgMax returns the index of the largest value, the first of equals; 0 if v is empty.
func ArgMax[T cmp.Ordered](v []T) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}
