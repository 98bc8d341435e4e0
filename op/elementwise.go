package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// fastUnary chooses the float32 function of a node, nil if there is none for its attributes.
type fastUnary = func(n *graph.Node) func(dst, x []float32)

// functions are the float32 functions of unary operators that have no parameters.
var functions = map[string]func(dst, x []float32){
	"Abs": kernel.Abs, "Ceil": kernel.Ceil, "Cos": kernel.Cos, "Erf": kernel.Erf, "Exp": kernel.Exp, "Floor": kernel.Floor,
	"HardSwish": kernel.HardSwish, "Sign": kernel.Sign, "Softsign": kernel.Softsign, "Tan": kernel.Tan, "Log": kernel.Log, "Mish": kernel.Mish, "Neg": kernel.Neg, "Reciprocal": reciprocal,
	"Relu": kernel.Relu, "Round": kernel.Round, "Sigmoid": kernel.Sigmoid, "Sin": kernel.Sin, "Softplus": kernel.Softplus,
	"Sqrt": kernel.Sqrt, "Tanh": kernel.Tanh,
}

func reciprocal(dst, x []float32) { kernel.MapScalar(kernel.DivBy, dst, x, 1) }

// fastFunction is the float32 function of a unary operator, nil if there is none.
func (u *unary) fastFunction(n *graph.Node) func(dst, x []float32) {
	if u.fast != nil {
		return u.fast(n)
	}
	return functions[u.name]
}

func fastGelu(n *graph.Node) func(dst, x []float32) {
	if n.Str("approximate", "none") == "tanh" {
		return kernel.GeluTanh
	}
	return kernel.Gelu
}

// elu is x times b, or a (e^x - 1) below 0.
func elu(a, b float32) func(dst, x []float32) {
	return func(dst, x []float32) { kernel.Elu(dst, x, a, b) }
}

// binaryFast is the float32 kernel of a binary operator: one of kernel's if known, and the plain function.
type binaryFast struct {
	op    kernel.Binary
	known bool
	f     func(x, y float32) float32
	power bool // Pow has kernels of its own; called by name, so that buffers stay on the stack
}

var (
	fastAdd = binaryFast{op: kernel.Add, known: true, f: func(x, y float32) float32 { return x + y }}
	fastSub = binaryFast{op: kernel.Sub, known: true, f: func(x, y float32) float32 { return x - y }}
	fastMul = binaryFast{op: kernel.Mul, known: true, f: func(x, y float32) float32 { return x * y }}
	fastDiv = binaryFast{op: kernel.Div, known: true, f: func(x, y float32) float32 { return x / y }}
	fastMax = binaryFast{op: kernel.Max, known: true}
	fastMin = binaryFast{op: kernel.Min, known: true}
	fastPow = binaryFast{f: pow32, power: true}
)

func pow32(x, y float32) float32 {
	d := [1]float32{x}
	kernel.PowScalar(d[:], d[:], y)
	return d[0]
}

// powScalar knows the exponents that models have.
func powScalar(dst, x []float32, y float32) {
	switch y {
	case 1:
		copy(dst, x)
	case 2:
		kernel.Map2(kernel.Mul, dst, x, x)
	case -1:
		reciprocal(dst, x)
	case 3:
		for i, v := range x {
			dst[i] = float32(v*v) * v
		}
	case 0.5:
		if math.IsInf(float64(kernel.Least(x)), -1) { // (-Inf)^0.5 is +Inf
			kernel.PowScalar(dst, x, y)
		} else {
			kernel.Sqrt(dst, x)
		}
	default:
		kernel.PowScalar(dst, x, y)
	}
}

// mapKernel applies f to chunks of n elements.
func mapKernel(n int, f func(dst, x []float32)) Kernel {
	return Kernel{Over: 1, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		f(out[0].Float32s()[lo:hi], in[0].Float32s()[lo:hi])
	})}
}

// binaryKernel handles every broadcast: operands are seen as rows along which each goes on by one element or stays.
func binaryKernel(p *Prep, f binaryFast) (Kernel, bool) {
	if p.Out[0].DType != tensor.Float32 || p.In[0].DType != tensor.Float32 || p.In[1].DType != tensor.Float32 {
		return Kernel{}, false
	}
	out, a, b := p.Out[0].Shape, p.In[0].Shape, p.In[1].Shape
	n := out.Elems()
	over := 0
	switch n {
	case a.Elems():
		over = 1
	case b.Elems():
		over = 2
	}
	if k, ok := repeated(out, b); ok && over == 1 {
		return f.repeat(n, k, 0), true
	}
	if k, ok := repeated(out, a); ok && over == 2 {
		return f.repeat(n, k, 1), true
	}
	k, ok := broadcastKernel(p, func(out, x, y *tensor.Tensor, lo, hi, i, j, di, dj int) {
		f.row(out.Float32s()[lo:hi], x.Float32s()[i:], y.Float32s()[j:], di, dj)
	})
	k.Over = over
	return k, ok
}

// variadicKernel folds operands of the result's shape from the left, chunk by chunk.
func variadicKernel(p *Prep, f binaryFast, mean bool) (Kernel, bool) {
	n := p.Out[0].Elems()
	if mean {
		f = fastAdd
	}
	for _, t := range p.In {
		if t.DType != tensor.Float32 || t.Elems() != n {
			return Kernel{}, false
		}
	}
	over := 0
	if len(p.In) <= 2 {
		over = 1 // a third operand may be the first one again
	}
	return Kernel{Over: over, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		for ; lo < hi; lo += foldChunk {
			end := min(hi, lo+foldChunk)
			d, x := out[0].Float32s()[lo:end], in[0].Float32s()[lo:end]
			if len(in) == 1 {
				copy(d, x)
			}
			for _, t := range in[1:] {
				f.pair(d, x, t.Float32s()[lo:end])
				x = d
			}
			if mean {
				kernel.MapScalar(kernel.Div, d, d, float32(len(in)))
			}
		}
	})}, true
}

// foldChunk elements stay in the first cache while operands are folded into them.
const foldChunk = 1 << 11

// row computes one row; an operand with step 0 is one number.
func (f binaryFast) row(dst, x, y []float32, dx, dy int) {
	n := len(dst)
	switch {
	case n == 0:
	case dx == 1 && dy == 1:
		f.pair(dst, x[:n], y[:n])
	case dx == 1:
		f.scalar(dst, x[:n], y[0])
	case dy == 1:
		f.scalarFirst(dst, x[0], y[:n])
	default:
		f.scalar(dst[:1], x[:1], y[0])
		for i := range dst {
			dst[i] = dst[0]
		}
	}
}

// shortRow is the length below which a repeated operand is written out several times first.
const shortRow = 256

// repeated reports whether s is a short block that out repeats, and its length.
func repeated(out, s tensor.Shape) (int, bool) {
	for len(s) > 0 && s[0] == 1 {
		s = s[1:]
	}
	n := s.Elems()
	return n, n > 1 && n < shortRow && out.Elems() >= 2*shortRow && len(s) <= len(out) && out[len(out)-len(s):].Equal(s)
}

// repeat combines a long operand with a block of m elements that it repeats: side is the index of the long one.
func (f binaryFast) repeat(n, m, side int) Kernel {
	times := min((shortRow+m-1)/m*4, n/m)
	block := times * m
	per := max(1, chunk/block) * block // elements of one task
	blocks := split((n+per-1)/per, func(in, out []*tensor.Tensor, scratch []byte, task int) {
		d, long, s := out[0].Float32s(), in[side].Float32s(), floatsIn(scratch)[:block]
		for lo := task * per; lo < min(n, (task+1)*per); lo += block {
			hi := min(n, lo+block)
			if side == 0 {
				f.pair(d[lo:hi], long[lo:hi], s[:hi-lo])
			} else {
				f.pair(d[lo:hi], s[:hi-lo], long[lo:hi])
			}
		}
	})
	return Kernel{Over: 1 + side, Scratch: 4 * block, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		s := floatsIn(scratch)[:block]
		for k := copy(s, in[1-side].Float32s()); k < block; k *= 2 {
			copy(s[k:], s[:k])
		}
		blocks(in, out, scratch)
	}}
}

func (f binaryFast) pair(dst, a, b []float32) {
	if f.known {
		kernel.Map2(f.op, dst, a, b)
		return
	}
	if f.power {
		kernel.Pow(dst, a, b)
		return
	}
	for i, v := range a {
		dst[i] = f.f(v, b[i])
	}
}

func (f binaryFast) scalar(dst, a []float32, s float32) {
	if f.known {
		kernel.MapScalar(f.op, dst, a, s)
		return
	}
	if f.power {
		powScalar(dst, a, s)
		return
	}
	for i, v := range a {
		dst[i] = f.f(v, s)
	}
}

func (f binaryFast) scalarFirst(dst []float32, s float32, b []float32) {
	switch {
	case f.power:
		var wide [shortRow]float32
		fillFloats(wide[:min(len(b), shortRow)], s)
		for lo := 0; lo < len(b); lo += shortRow {
			hi := min(len(b), lo+shortRow)
			kernel.Pow(dst[lo:hi], wide[:hi-lo], b[lo:hi])
		}
	case !f.known:
		for i, v := range b {
			dst[i] = f.f(s, v)
		}
	case f.op == kernel.Sub:
		kernel.MapScalar(kernel.SubFrom, dst, b, s)
	case f.op == kernel.Div:
		kernel.MapScalar(kernel.DivBy, dst, b, s)
	default: // commutative
		kernel.MapScalar(f.op, dst, b, s)
	}
}
