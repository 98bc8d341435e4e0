package stat

import "sort"

// Holm returns p-values adjusted for the family-wise error rate (Holm, Scand. J.
// Statist. 6, 1979): rejecting those at or below alpha keeps the probability of any
// false rejection at most alpha, under any dependence.
func Holm(p []float64) []float64 {
	order := ascending(p)
	out := make([]float64, len(p))
	running := 0.0
	for rank, i := range order {
		running = max(running, min(1, p[i]*float64(len(p)-rank)))
		out[i] = running
	}
	return out
}

// BenjaminiHochberg returns p-values adjusted for the false discovery rate
// (Benjamini and Hochberg, JRSS B 57, 1995); valid for independent or positively dependent tests.
func BenjaminiHochberg(p []float64) []float64 {
	order := ascending(p)
	out := make([]float64, len(p))
	running := 1.0
	for rank := len(order) - 1; rank >= 0; rank-- {
		i := order[rank]
		running = min(running, p[i]*float64(len(p))/float64(rank+1))
		out[i] = running
	}
	return out
}

// ascending returns the indices of p in increasing order, ties by index.
func ascending(p []float64) []int {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return p[order[a]] < p[order[b]] })
	return order
}
