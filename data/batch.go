package data

import "muster/rng"

// Batches returns the rows of one epoch in random order, in batches of size rows; the
// last batch holds what is left and can be smaller. Key and epoch decide the order alone.
// It panics if size < 1.
func Batches(rows []int, size int, key rng.Key, epoch int) [][]int {
	if size < 1 {
		panic("data: Batches of a size below 1")
	}
	order := make([]int, len(rows))
	for i, p := range key.Named("batches").Split(uint64(epoch)).Stream().Perm(len(rows)) {
		order[i] = rows[p]
	}
	var out [][]int
	for at := 0; at < len(order); at += size {
		out = append(out, order[at:min(at+size, len(order))])
	}
	return out
}
