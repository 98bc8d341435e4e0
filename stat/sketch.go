package stat

import (
	"math"
	"math/big"
	"sort"

	"muster/fault"
)

// Moments accumulates count, mean, variance, minimum and maximum. Partial
// results merge exactly: any order and any split give the same bits.
type Moments struct {
	N       uint64  `json:"n"`
	Sum     Sum     `json:"sum"`
	Squares Sum     `json:"squares"`
	Min     float64 `json:"min"` // 0 while N is 0
	Max     float64 `json:"max"`
	Missing uint64  `json:"missing,omitempty"` // values that were NaN, infinite or beyond 1e150
}

// Add adds a value. NaN, infinities and magnitudes above 1e150 (whose square could
// overflow) are counted as missing.
func (m *Moments) Add(x float64) {
	if !(math.Abs(x) <= 1e150) {
		m.Missing++
		return
	}
	if m.N == 0 || x < m.Min {
		m.Min = x
	}
	if m.N == 0 || x > m.Max {
		m.Max = x
	}
	m.N++
	m.Sum.Add(x)
	hi := float64(x * x)
	m.Squares.Add(hi)
	if lo := math.FMA(x, x, -hi); lo != 0 { // x*x = hi + lo exactly; lo is 0 for a float32
		m.Squares.Add(lo)
	}
}

// Merge adds what o has seen.
func (m *Moments) Merge(o *Moments) {
	if o.N > 0 && (m.N == 0 || o.Min < m.Min) {
		m.Min = o.Min
	}
	if o.N > 0 && (m.N == 0 || o.Max > m.Max) {
		m.Max = o.Max
	}
	m.N += o.N
	m.Missing += o.Missing
	m.Sum.Merge(&o.Sum)
	m.Squares.Merge(&o.Squares)
}

// Mean returns the mean, 0 if nothing was added.
func (m *Moments) Mean() float64 {
	if m.N == 0 {
		return 0
	}
	return m.Sum.Value() / float64(m.N)
}

// Variance returns the unbiased sample variance, 0 below two values. The
// subtraction n*squares - sum^2 is done in integers, so nothing cancels.
func (m *Moments) Variance() float64 {
	if m.N < 2 {
		return 0
	}
	n := new(big.Int).SetUint64(m.N)
	s := m.Sum.exact() // units 2^-1074
	v := m.Squares.exact()
	v.Mul(v, n).Lsh(v, sumBias).Sub(v, s.Mul(s, s)) // units 2^-2148
	if v.Sign() <= 0 {
		return 0
	}
	f := float64(m.N)
	return toFloat(v, -2*sumBias) / f / (f - 1)
}

// Valid reports an error for moments that no sequence of Add can produce; use it after reading JSON.
func (m *Moments) Valid() error {
	if m.Min > m.Max || m.N == 0 && (m.Min != 0 || m.Max != 0) || !(math.Abs(m.Min) <= 1e150) || !(math.Abs(m.Max) <= 1e150) {
		return fault.New(fault.Malformed, "", "stat: moments of %d values have minimum %v and maximum %v", m.N, m.Min, m.Max)
	}
	return nil
}

// Hist counts values in fixed bins. Bin i holds Edges[i-1] <= x < Edges[i]; the
// first and the last bin are open. Merging is exact.
type Hist struct {
	Edges   []float64 `json:"edges"`             // strictly increasing
	Counts  []uint64  `json:"counts"`            // len(Edges) + 1
	Missing uint64    `json:"missing,omitempty"` // values that were NaN
}

// NewHist returns an empty histogram; edges must be finite and strictly increasing.
func NewHist(edges []float64) (*Hist, error) {
	h := &Hist{Edges: append([]float64{}, edges...), Counts: make([]uint64, len(edges)+1)}
	return h, h.Valid()
}

// QuantileEdges returns at most bins-1 edges that split sample into bins of equal
// mass; repeated quantiles are merged, so a constant sample gets one edge. The
// sample must hold finite values only; an empty one is an error.
func QuantileEdges(sample []float64, bins int) ([]float64, error) {
	if len(sample) == 0 || bins < 2 {
		return nil, fault.New(fault.Numeric, "", "stat: quantile edges need values and 2 bins; there are %d values, %d bins", len(sample), bins)
	}
	x := append([]float64(nil), sample...)
	sort.Float64s(x)
	if math.IsNaN(x[0]) || math.IsInf(x[0], 0) || math.IsInf(x[len(x)-1], 0) {
		return nil, fault.New(fault.Numeric, "", "stat: a sample for quantile edges holds a value that is not finite")
	}
	var edges []float64
	for i := 1; i < bins; i++ {
		e := Quantile(x, float64(i)/float64(bins))
		if len(edges) == 0 || e > edges[len(edges)-1] {
			edges = append(edges, e)
		}
	}
	return edges, nil
}

// Bin returns the index of the bin of x, which must not be NaN.
func (h *Hist) Bin(x float64) int {
	return sort.Search(len(h.Edges), func(i int) bool { return h.Edges[i] > x })
}

// Add counts x.
func (h *Hist) Add(x float64) {
	if math.IsNaN(x) {
		h.Missing++
		return
	}
	h.Counts[h.Bin(x)]++
}

// N returns the number of counted values, without the missing ones.
func (h *Hist) N() uint64 {
	n := uint64(0)
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Merge adds the counts of o, which must have the same edges.
func (h *Hist) Merge(o *Hist) error {
	if !sameEdges(h.Edges, o.Edges) || len(h.Counts) != len(o.Counts) {
		return fault.New(fault.Mismatch, "", "stat: histograms with different bins cannot be merged")
	}
	for i, c := range o.Counts {
		h.Counts[i] += c
	}
	h.Missing += o.Missing
	return nil
}

func sameEdges(a, b []float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Valid reports an error if the histogram is not well formed; use it after reading JSON.
func (h *Hist) Valid() error {
	if len(h.Counts) != len(h.Edges)+1 {
		return fault.New(fault.Malformed, "", "stat: histogram has %d edges and %d counts", len(h.Edges), len(h.Counts))
	}
	total := h.Missing
	for _, c := range h.Counts {
		if c > 1<<53 || total > 1<<53 {
			return fault.New(fault.Malformed, "", "stat: histogram counts exceed 2^53")
		}
		total += c
	}
	for i, e := range h.Edges {
		if math.IsNaN(e) || math.IsInf(e, 0) || i > 0 && e <= h.Edges[i-1] {
			return fault.New(fault.Malformed, "", "stat: histogram edge %d (%v) is not finite and increasing", i, e)
		}
	}
	return nil
}

// Interval returns Student's t interval of the mean; below two values it is empty at the mean.
func (m *Moments) Interval(level float64) Interval {
	mustRate("level", level)
	iv := Interval{Low: m.Mean(), High: m.Mean(), Level: level, Method: "t"}
	if m.N >= 2 {
		half := float64(TQuantile(0.5+level/2, float64(m.N-1)) * math.Sqrt(m.Variance()/float64(m.N)))
		iv.Low, iv.High = iv.Low-half, iv.High+half
	}
	return iv
}
