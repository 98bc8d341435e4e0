package data

import (
	"crypto/sha256"
	"math"
	"slices"
	"sort"

	"muster/rng"
)

// Rules of near duplicates. They are constants, so that a report can state them.
const (
	// NearShare is the largest distance of near duplicates: the mean absolute difference
	// of the numbers of two rows, each as a share of its range (images: of the declared
	// range; columns: from the 5% to the 95% quantile).
	NearShare = 0.01
	// NearFactor: and at most this share of the median distance from a row to the nearest of
	// a random quarter of the rows (16 to 512 of them), so that in data that is dense by
	// nature neighbours are not called copies, and in a set full of copies they still are.
	NearFactor = 0.1
	// NearFloor is a distance at which two images are near duplicates however dense the data
	// is: a quarter of a grey level of 256 on average.
	NearFloor = 0.001
	// ExhaustiveRows is the number of different rows up to which every pair is considered.
	// Beyond it a row is compared with the next 32 rows in each of 8 sorted orders, by
	// random projections: the cost is linear, and a pair can be missed.
	ExhaustiveRows = 20_000

	nearReferences = 512
	nearQueries    = 256
	nearWindow     = 32
	nearOrders     = 8
	nearSegments   = 16
	maxNearPairs   = 100_000
)

// Duplicates says which rows of a set have the same or nearly the same features.
// Labels and roles do not count.
type Duplicates struct {
	Exact      [][]int  // groups of rows with equal features, rows ascending, groups by first row
	Near       [][2]int // near pairs, first < second, sorted; of an exact group only its first row appears; at most 100,000 are listed
	NearCount  int      // all near pairs
	Threshold  float64  // the largest distance of a near pair in this set
	Exhaustive bool     // every pair was considered; else near pairs can be missed
	Groups     []int    // of each row: the smallest row number of its cluster of exact and near duplicates
}

// FindDuplicates compares all rows. Two rows are exact duplicates if all features have the
// same bits, missing values included. They are near duplicates if all categories and the
// places of missing values are equal and the numbers are no further apart than Threshold,
// the smaller of NearShare and the NearFactor rule (for images at least NearFloor).
func FindDuplicates(s *Set) *Duplicates {
	d := &Duplicates{Groups: make([]int, s.Len())}
	for i := range d.Groups {
		d.Groups[i] = i
	}
	first := d.exact(s)
	v := newVectors(s, first)
	d.Threshold = v.threshold()
	if s.Image() != nil {
		d.Threshold = max(d.Threshold, NearFloor)
	}
	d.Exhaustive = len(first) <= ExhaustiveRows
	if v.dim > 0 {
		if d.Exhaustive {
			v.allPairs(d.Threshold, d.near)
		} else {
			v.sortedPairs(d.Threshold, d.near)
		}
	}
	sort.Slice(d.Near, func(i, j int) bool {
		a, b := d.Near[i], d.Near[j]
		return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
	})
	for i := range d.Groups {
		d.Groups[i] = d.root(i)
	}
	return d
}

// near records a pair; both are rows of the set.
func (d *Duplicates) near(a, b int) {
	d.NearCount++
	if len(d.Near) < maxNearPairs {
		d.Near = append(d.Near, [2]int{min(a, b), max(a, b)})
	}
	d.join(a, b)
}

// root and join are union by smallest row, with path halving.
func (d *Duplicates) root(i int) int {
	for d.Groups[i] != i {
		d.Groups[i] = d.Groups[d.Groups[i]]
		i = d.Groups[i]
	}
	return i
}

func (d *Duplicates) join(a, b int) {
	a, b = d.root(a), d.root(b)
	d.Groups[max(a, b)] = min(a, b)
}

// exact groups rows by the hash of their features and returns the first row of each group.
func (d *Duplicates) exact(s *Set) []int {
	features, n := s.Features(), s.Len()
	at := make(map[[32]byte]int, n) // index in rows
	var rows [][]int
	for i := range n {
		h := featureHash(features, i, nil)
		k, ok := at[h]
		if !ok {
			k = len(rows)
			at[h] = k
			rows = append(rows, nil)
		}
		rows[k] = append(rows[k], i)
	}
	first := make([]int, len(rows))
	for k, r := range rows {
		first[k] = r[0]
		if len(r) > 1 {
			d.Exact = append(d.Exact, r)
		}
		for _, i := range r[1:] {
			d.join(r[0], i)
		}
	}
	return first
}

// featureHash is SHA-256 of the features of row i, of those for which keep says yes.
func featureHash(features []*Column, i int, keep func(*Column) bool) [32]byte {
	var b []byte
	for _, c := range features {
		missing := byte(0)
		if c.IsMissing(i) {
			missing = 1
		}
		b = append(b, missing)
		if keep == nil || keep(c) {
			size := len(c.Values.Data) / c.Values.Shape[0]
			b = append(b, c.Values.Data[i*size:(i+1)*size]...)
		}
	}
	return sha256.Sum256(b)
}

// vectors are the numbers of rows, scaled, with a bucket for all that must be equal.
type vectors struct {
	rows   []int     // row of the set
	bucket []int     // rows are comparable only within one bucket
	dim    int       // numbers of a row
	x      []float32 // len(rows) x dim
	total  []float32 // sum of each row
	part   []float32 // sums of up to nearSegments parts of each row
	parts  int
}

func newVectors(s *Set, rows []int) *vectors {
	v := &vectors{rows: rows, bucket: make([]int, len(rows))}
	features := s.Features()
	var numeric []*Column
	for _, c := range features {
		if c.Kind != Categorical {
			numeric = append(numeric, c)
			v.dim += c.Values.Shape[1:].Elems()
		}
	}
	at := map[[32]byte]int{}
	for k, r := range rows {
		h := featureHash(features, r, func(c *Column) bool { return c.Kind == Categorical })
		if _, ok := at[h]; !ok {
			at[h] = len(at)
		}
		v.bucket[k] = at[h]
	}
	v.x = make([]float32, len(rows)*v.dim)
	off := 0
	for _, c := range numeric {
		w, inv := c.Values.Shape[1:].Elems(), 1/scale(c)
		src := c.Values.Float32s()
		for k, r := range rows {
			for j := range w {
				v.x[k*v.dim+off+j] = float32(float64(src[r*w+j]) * inv)
			}
		}
		off += w
	}
	v.sum()
	return v
}

// scale is the length that differences are measured by; never 0.
func scale(c *Column) float64 {
	var w float64
	if c.Kind == Image {
		lo, hi := c.Range()
		w = hi - lo
	} else {
		var there []float32
		for i, x := range c.Values.Float32s() {
			if !c.IsMissing(i) {
				there = append(there, x)
			}
		}
		if len(there) > 0 {
			slices.Sort(there)
			w = float64(there[len(there)-1-len(there)/20]) - float64(there[len(there)/20])
			if w == 0 {
				w = float64(there[len(there)-1]) - float64(there[0])
			}
		}
	}
	if !(w > 0) {
		return 1
	}
	return w
}

// sum fills total and part: |sum(a) - sum(b)| over any part is a lower bound of the distance.
func (v *vectors) sum() {
	v.parts = min(nearSegments, v.dim)
	v.total = make([]float32, len(v.rows))
	v.part = make([]float32, len(v.rows)*v.parts)
	for k := range v.rows {
		for p := range v.parts {
			var s float32
			for _, x := range v.row(k)[p*v.dim/v.parts : (p+1)*v.dim/v.parts] {
				s += x
			}
			v.part[k*v.parts+p] = s
			v.total[k] += s
		}
	}
}

func (v *vectors) row(k int) []float32 { return v.x[k*v.dim : (k+1)*v.dim] }

// within reports whether the mean absolute difference of rows a and b is at most limit;
// it gives up as early as it can.
func (v *vectors) within(a, b int, limit float64) bool {
	if v.bucket[a] != v.bucket[b] {
		return false
	}
	most := float32(limit * float64(v.dim))
	slack := most + 1e-4*float32(v.dim) // rounding of the partial sums
	if l1(v.part[a*v.parts:(a+1)*v.parts], v.part[b*v.parts:(b+1)*v.parts], slack) > slack {
		return false
	}
	return l1(v.row(a), v.row(b), most) <= most
}

// l1 returns the sum of absolute differences, or some number above stop once it is above stop.
func l1(a, b []float32, stop float32) float32 {
	var s float32
	for i := range a {
		d := a[i] - b[i]
		if d < 0 {
			d = -d
		}
		s += d
		if s > stop {
			return s
		}
	}
	return s
}

// threshold applies the two rules.
func (v *vectors) threshold() float64 {
	if v.dim == 0 {
		return 0
	}
	n, key := len(v.rows), rng.New(0).Named("near duplicates")
	refs := sample(n, min(nearReferences, max(n/4, 16)), key.Named("references"))
	var nearest []float64
	for _, q := range sample(n, nearQueries, key.Named("queries")) {
		best := float32(math.Inf(1))
		for _, r := range refs {
			if r != q && v.bucket[r] == v.bucket[q] {
				best = min(best, l1(v.row(q), v.row(r), best))
			}
		}
		nearest = append(nearest, float64(best)/float64(v.dim))
	}
	sort.Float64s(nearest)
	if len(nearest) == 0 {
		return NearShare
	}
	return min(NearShare, NearFactor*nearest[len(nearest)/2])
}

// sample returns all numbers below n if they are at most k, else k random ones, some
// perhaps twice.
func sample(n, k int, key rng.Key) []int {
	out, st := make([]int, min(n, k)), key.Stream()
	for i := range out {
		out[i] = i
		if n > k {
			out[i] = st.Intn(n)
		}
	}
	return out
}

// allPairs finds every pair: rows sorted by bucket and total, so that only neighbours
// whose totals are close enough are compared.
func (v *vectors) allPairs(limit float64, found func(a, b int)) {
	order := make([]int, len(v.rows))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool {
		a, b := order[i], order[j]
		if v.bucket[a] != v.bucket[b] {
			return v.bucket[a] < v.bucket[b]
		}
		return v.total[a] < v.total[b] || v.total[a] == v.total[b] && a < b
	})
	reach := float32(limit*float64(v.dim)) + 1e-4*float32(v.dim)
	for i, a := range order {
		for _, b := range order[i+1:] {
			if v.bucket[a] != v.bucket[b] || v.total[b]-v.total[a] > reach {
				break
			}
			if v.within(a, b, limit) {
				found(v.rows[a], v.rows[b])
			}
		}
	}
}

// sortedPairs compares each row with the next few in several orders (sorted neighbourhood,
// Hernandez and Stolfo 1995, with random projections as keys). The keys are from a fixed
// seed, so the answer is always the same.
func (v *vectors) sortedPairs(limit float64, found func(a, b int)) {
	seen := map[[2]int]bool{}
	for o := range nearOrders {
		key := v.project(rng.New(0).Named("near duplicates").Split(uint64(o)))
		order := make([]int, len(v.rows))
		for i := range order {
			order[i] = i
		}
		sort.Slice(order, func(i, j int) bool {
			a, b := order[i], order[j]
			if v.bucket[a] != v.bucket[b] {
				return v.bucket[a] < v.bucket[b]
			}
			return key[a] < key[b] || key[a] == key[b] && a < b
		})
		for i, a := range order {
			for _, b := range order[i+1 : min(len(order), i+1+nearWindow)] {
				pair := [2]int{min(a, b), max(a, b)}
				if !seen[pair] && v.within(a, b, limit) {
					seen[pair] = true
					found(v.rows[a], v.rows[b])
				}
			}
		}
	}
}

// project returns the sum of each row with random signs.
func (v *vectors) project(key rng.Key) []float32 {
	st, sign := key.Stream(), make([]bool, v.dim)
	for i := range sign {
		sign[i] = st.Uint32()&1 == 1
	}
	out := make([]float32, len(v.rows))
	for k := range v.rows {
		var s float32
		for j, x := range v.row(k) {
			if sign[j] {
				s += x
			} else {
				s -= x
			}
		}
		out[k] = s
	}
	return out
}
