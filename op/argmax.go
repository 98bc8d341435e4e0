package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// ArgMax and ArgMin are the index of the first extreme element along an axis (the last one by select_last_index).
var (
	opArgMax = argExtreme("ArgMax", 1)
	opArgMin = argExtreme("ArgMin", -1)
)

// argExtreme is ArgMax of sign times the numbers.
func argExtreme(name string, sign int) Op {
	return Op{
		Name: name, Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axis keepdims select_last_index",
		NoGrad: "its output is an integer",
		Infer: func(c *InferCall) error {
			in := c.In[0].Shape
			if c.In[0].DType == tensor.Bool {
				return c.Errorf("input 0 is bool")
			}
			if in == nil {
				c.Set(0, tensor.Int64, nil)
				return nil
			}
			at, err := axis(c.Node.Place(), c.Node.Int("axis", 0), len(in))
			if err != nil {
				return err
			}
			if in[at].Known() && in[at].Size == 0 {
				return c.Errorf("the axis is empty")
			}
			out := append([]graph.Dim{}, in...)
			out[at] = graph.D(1)
			if c.Node.Int("keepdims", 1) == 0 {
				out = append(out[:at], out[at+1:]...)
			}
			c.Set(0, tensor.Int64, out)
			return nil
		},
		Ref: func(c *Call) error {
			if c.In[0].DType.IsFloat() {
				v := floats(c.In[0])
				for i := range v {
					v[i] *= float64(sign)
				}
				argMax(c, v)
				return nil
			}
			v := ints(c.In[0])
			for i := range v {
				if c.In[0].DType == tensor.Uint64 {
					v[i] ^= math.MinInt64 // the same order as signed numbers
				}
				if sign < 0 {
					v[i] = ^v[i] // the opposite order, without overflow
				}
			}
			argMax(c, v)
			return nil
		},
		Prepare: func(p *Prep) (Kernel, bool) { return argMaxKernel(p, sign) },
	}
}

func argMax[T float64 | int64](c *Call, v []T) {
	P, n, Q, last := argMaxDims(c.Node, c.In[0].Shape)
	argMaxLanes(c.Out[0].Int64s(), v, 1, 0, P, n, Q, last)
}

func argMaxDims(node *graph.Node, s tensor.Shape) (P, n, Q int, last bool) {
	P, n, Q = lanes(s, node.Int("axis", 0), false)
	return P, n, Q, node.Int("select_last_index", 0) != 0
}

// argMaxLanes does the lanes of v [P, n, Q] with p from lo to hi.
func argMaxLanes[T float32 | float64 | int64](out []int64, v []T, sign T, lo, hi, n, Q int, last bool) {
	for p := lo; p < hi; p++ {
		for q := 0; q < Q; q++ {
			best := 0
			for i := 1; i < n; i++ {
				x, y := sign*v[(p*n+i)*Q+q], sign*v[(p*n+best)*Q+q]
				if x > y || last && x == y {
					best = i
				}
			}
			out[p*Q+q] = int64(best)
		}
	}
}

func argMaxKernel(p *Prep, sign int) (Kernel, bool) {
	P, n, Q, last := argMaxDims(p.Node, p.In[0].Shape)
	if p.In[0].DType != tensor.Float32 || n >= 1<<24 { // rows are counted in float32
		return Kernel{}, false
	}
	if Q == 1 {
		return Kernel{Run: rowKernel(P, n, func(in, out []*tensor.Tensor, lo, hi int) {
			for r := lo; r < hi; r++ {
				out[0].Int64s()[r] = int64(argMaxRow(in[0].Float32s()[r*n:(r+1)*n], sign, last))
			}
		})}, true
	}
	return Kernel{Run: strips(P, n, Q, func(in, out []*tensor.Tensor, p, c, cols int) {
		argMaxColumns(out[0].Int64s()[p*Q+c:][:cols], in[0].Float32s()[p*n*Q+c:], float32(sign), n, Q, last)
	})}, true
}

// searchBlock is how many numbers are gone over for the place of one of them.
const searchBlock = 128

// argMaxRow looks for the first (or last) block that holds the extreme value, and then for its place in there.
func argMaxRow(x []float32, sign int, last bool) int {
	extreme := kernel.Greatest
	if sign < 0 {
		extreme = kernel.Least
	}
	top, at := extreme(x[:min(len(x), searchBlock)]), 0
	for lo := searchBlock; lo < len(x) && top == top; lo += searchBlock {
		t := extreme(x[lo:min(len(x), lo+searchBlock)])
		switch {
		case sign > 0 && t > top, sign < 0 && t < top, last && t == top, t != t:
			top, at = t, lo
		}
	}
	if top != top { // a NaN wins only where it comes first
		var i [1]int64
		argMaxLanes(i[:], x, float32(sign), 0, 1, len(x), 1, last)
		return int(i[0])
	}
	block := x[at:min(len(x), at+searchBlock)]
	if last {
		for i := len(block) - 1; ; i-- {
			if block[i] == top {
				return at + i
			}
		}
	}
	for i, v := range block {
		if v == top {
			return at + i
		}
	}
	return 0
}

// argMaxColumns goes over n rows, step apart, and keeps the best of every column.
func argMaxColumns(out []int64, x []float32, sign float32, n, step int, last bool) {
	var a, b [stripCols]float32
	best, at := a[:len(out)], b[:len(out)]
	kernel.MapScalar(kernel.Mul, best, x[:len(out)], sign)
	for r := 1; r < n; r++ {
		kernel.TopColumns(best, at, x[r*step:][:len(out)], sign, float32(r), last)
	}
	for c, r := range at {
		out[c] = int64(r)
	}
}
