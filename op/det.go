package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// maxDetGrad bounds the matrices whose determinant is differentiated: the minors of one take N^4 numbers.
const maxDetGrad = 64

// Det is the determinant of every matrix [..., N, N], by elimination with row exchanges.
var opDet = Op{
	Name: "Det", Since: 11, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		if err := c.wantFloat(0); err != nil {
			return err
		}
		s := c.In[0].Shape
		if s == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		k := len(s)
		if k < 2 || s[k-1].Known() && s[k-2].Known() && s[k-1].Size != s[k-2].Size {
			return c.Errorf("input 0 has the shape %v, want square matrices", s)
		}
		c.Set(0, c.In[0].DType, s[:k-2])
		return nil
	},
	Ref: func(c *Call) error {
		s := c.In[0].Shape
		N := s[len(s)-1]
		v, out := floats(c.In[0]), make([]float64, c.Out[0].Elems())
		for i := range out {
			out[i] = determinant(v[i*N*N:(i+1)*N*N], N)
		}
		setFloats(c.Out[0], out)
		return nil
	},
	Grad:  detGrad,
	Flops: func(in, out []*graph.Value) int64 { return detFlops(in[0]) },
}

func detFlops(x *graph.Value) int64 {
	s, ok := x.Static()
	if !ok || len(s) == 0 {
		return 0
	}
	return int64(s.Elems()) * int64(s[len(s)-1]) * 2 / 3
}

// determinant destroys a [N, N].
func determinant(a []float64, N int) float64 {
	d := 1.0
	for k := 0; k < N; k++ {
		p := k
		for r := k + 1; r < N; r++ {
			if math.Abs(a[r*N+k]) > math.Abs(a[p*N+k]) {
				p = r
			}
		}
		if p != k {
			d = -d
			for j := k; j < N; j++ {
				a[p*N+j], a[k*N+j] = a[k*N+j], a[p*N+j]
			}
		}
		d *= a[k*N+k]
		if a[k*N+k] == 0 {
			return d
		}
		for r := k + 1; r < N; r++ {
			f := a[r*N+k] / a[k*N+k]
			for j := k + 1; j < N; j++ {
				a[r*N+j] -= float64(f * a[k*N+j])
			}
		}
	}
	return d
}

// detGrad is dY times the matrix of cofactors, each the determinant of a minor: exact for singular matrices
// too, where the usual det(X) inverse(X)^T does not exist.
func detGrad(c *GradCall) []*graph.Value {
	b, x, s := c.B, c.In[0], c.In[0].Shape
	k := len(s)
	if k < 2 || !s[k-1].Known() || s[k-1].Size > maxDetGrad {
		c.Fail("matrices of %v: the gradient of a determinant is made for known sizes up to %d", s, maxDetGrad)
		return one(nil)
	}
	N := s[k-1].Size
	if N == 0 {
		return one(ZerosLike(b, x))
	}
	at, signs := minors(N)
	lead := make([]*graph.Value, k-2, k+2)
	for i := range lead {
		lead[i] = axisSize(b, x, i)
	}
	to := func(last ...int64) *graph.Value { return concat(b, append(lead[:k-2:k-2], b.Ints(last...))...) }
	n := int64(N)
	flat := b.Op("Reshape", x, to(n*n))
	m := b.OpA("Gather", []graph.Attr{graph.Int("axis", -1)}, flat, b.Init("minors", tensor.OfInt64(at, N, N, N-1, N-1)))
	sign := tensor.New(x.DType, N, N)
	setFloats(sign, signs)
	cofactors := b.Op("Mul", b.Op("Det", m), b.Init("signs", sign))
	return one(b.Op("Mul", cofactors, b.Unsqueeze(c.DOut[0], int64(k-2), int64(k-1))))
}

// minors lists, for every element of an N x N matrix, the elements outside its row and column, and its sign (-1)^(r+c).
func minors(N int) (at []int64, signs []float64) {
	for r := 0; r < N; r++ {
		for c := 0; c < N; c++ {
			signs = append(signs, 1-2*float64((r+c)%2))
			for i := 0; i < N; i++ {
				for j := 0; j < N; j++ {
					if i != r && j != c {
						at = append(at, int64(i*N+j))
					}
				}
			}
		}
	}
	return at, signs
}
