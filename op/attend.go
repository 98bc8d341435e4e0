package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/internal/kernel"
	"muster/tensor"
)

// Scaled dot product attention (Vaswani et al., arXiv 1706.03762, section 3.2.1) as the operators
// of several domains describe it.
//
// Axis letters: B batch, H heads of queries, KV heads of keys and values (H is a multiple of KV:
// grouped queries, arXiv 2305.13245), T tokens of queries, S tokens of keys, D channels per head,
// Dv channels per head of values.

// attend is one call: y = softmax(mask + cap(scale q k')) v.
type attend struct {
	kernel.Reach
	B, H, KV, T, D, Dv int
	q, k, v, y         kernel.Heads
	scale, softcap     float64
	maskAt             [4]int // strides of the mask, which is seen as [B, H, T, S]
	masked, boolean    bool   // there is a mask; it says which keys are seen
}

// heads3 views [B, T, heads*size] and heads4 [B, heads, T, size].
func heads3(T, width, size, base int) kernel.Heads {
	return kernel.Heads{Base: base, B: T * width, H: size, T: width}
}
func heads4(heads, T, size int) kernel.Heads {
	return kernel.Heads{B: heads * T * size, H: T * size, T: size}
}

// setMask describes a mask of rank up to 4 that is broadcast to [B, H, T, S]; its last axis may be shorter than S.
func (a *attend) setMask(shape tensor.Shape, d tensor.DType) {
	a.masked, a.boolean = true, d == tensor.Bool
	st := shape.Strides()
	for i := range shape {
		if to := 4 - len(shape) + i; shape[i] != 1 || to == 3 {
			a.maskAt[to] = st[i]
		}
	}
	if n := len(shape); n > 0 {
		a.Cols = min(a.Cols, shape[n-1])
	}
}

// bias is what the mask adds to the score of key s for query t.
func (a *attend) bias(mask []float64, b, h, t, s int) float64 {
	if !a.masked {
		return 0
	}
	m := mask[b*a.maskAt[0]+h*a.maskAt[1]+t*a.maskAt[2]+s*a.maskAt[3]]
	switch {
	case !a.boolean:
		return m
	case m != 0:
		return 0
	}
	return math.Inf(-1)
}

// What the optional output of Attention shows.
const (
	seeScores = iota // scale q k'
	seeCapped        // after the soft cap
	seeBiased        // after the mask
	seeSoftmax
)

// row computes the scores of one query in s and replaces them by their softmax; it returns the logarithm
// of the sum of exponentials. A query that sees no key has weights of 0. see is called with the state of s at every stage.
func (a *attend) row(s, q, k, mask []float64, b, h, t int, see func(stage int, s []float64)) float64 {
	lo, hi := a.Keys(b, t)
	from := a.q.At(b, h, t)
	for j := range s {
		to, sum := a.k.At(b, h*a.KV/a.H, j), 0.0
		for d := 0; d < a.D; d++ {
			sum += float64(q[from+d] * k[to+d])
		}
		s[j] = sum * a.scale
	}
	see(seeScores, s)
	if a.softcap > 0 {
		for j := range s {
			s[j] = a.softcap * tanh(s[j]/a.softcap)
		}
	}
	see(seeCapped, s)
	top := math.Inf(-1)
	for j := range s {
		if j < lo || j >= hi {
			s[j] = math.Inf(-1)
			continue
		}
		if m := a.bias(mask, b, h, t, j); math.IsInf(m, -1) {
			s[j] = m // whatever the score was
		} else {
			s[j] += m
		}
		top = max(top, s[j])
	}
	see(seeBiased, s)
	if math.IsInf(top, -1) {
		clear(s)
		see(seeSoftmax, s)
		return -math.MaxFloat32
	}
	sum := 0.0
	for j := range s {
		s[j] = detmath.Exp(s[j] - top)
		sum += s[j]
	}
	for j := range s {
		s[j] /= sum
	}
	see(seeSoftmax, s)
	return top + detmath.Log(sum)
}

// ref computes y and, if there is room for it, lse [B, H, T] and the scores qk [B, H, T, S] as they are at stage mode.
func (a *attend) ref(q, k, v, mask, y, lse, qk []float64, mode int) {
	s := make([]float64, a.S)
	for b := 0; b < a.B; b++ {
		for h := 0; h < a.H; h++ {
			for t := 0; t < a.T; t++ {
				at := (b*a.H+h)*a.T + t
				l := a.row(s, q, k, mask, b, h, t, func(stage int, s []float64) {
					if stage == mode && qk != nil {
						copy(qk[at*a.S:], s)
					}
				})
				if lse != nil {
					lse[at] = l
				}
				out := y[a.y.At(b, h, t):][:a.Dv]
				clear(out)
				lo, hi := a.Keys(b, t)
				for j := lo; j < hi; j++ {
					if s[j] == 0 {
						continue // a key that is not seen may hold anything
					}
					from := a.v.At(b, h*a.KV/a.H, j)
					for d := range out {
						out[d] += float64(s[j] * v[from+d])
					}
				}
			}
		}
	}
}

// divDim is the quotient of a dimension by n, open if it is not known; ok is false if it does not divide.
func divDim(d graph.Dim, n int) (q graph.Dim, ok bool) {
	if !d.Known() {
		return graph.Dim{Size: -1}, true
	}
	if n <= 0 || d.Size%n != 0 {
		return q, false
	}
	return graph.D(d.Size / n), true
}

// mulDim is a dimension times n, open if it is not known.
func mulDim(d graph.Dim, n graph.Dim) graph.Dim {
	if !d.Known() || !n.Known() {
		return graph.Dim{Size: -1}
	}
	return graph.D(d.Size * n.Size)
}

// addDims is the sum of two dimensions; one of size 0 keeps the other's name.
func addDims(d, e graph.Dim) graph.Dim {
	switch {
	case d.Known() && d.Size == 0:
		return e
	case e.Known() && e.Size == 0:
		return d
	case !d.Known() || !e.Known():
		return graph.Dim{Size: -1}
	}
	return graph.D(d.Size + e.Size)
}

// agree checks that dimensions that must be equal are not certainly different.
func (c *InferCall) agree(what string, d ...graph.Dim) error {
	for _, e := range d[1:] {
		if d[0].Known() && e.Known() && d[0].Size != e.Size {
			return c.Errorf("the %s are %v", what, d)
		}
	}
	return nil
}
