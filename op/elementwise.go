package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
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
	with  func(dst, a []float32, s float32) bool // a special second operand; nil or false: not special
}

var (
	fastAdd = binaryFast{op: kernel.Add, known: true, f: func(x, y float32) float32 { return x + y }}
	fastSub = binaryFast{op: kernel.Sub, known: true, f: func(x, y float32) float32 { return x - y }}
	fastMul = binaryFast{op: kernel.Mul, known: true, f: func(x, y float32) float32 { return x * y }}
	fastDiv = binaryFast{op: kernel.Div, known: true, f: func(x, y float32) float32 { return x / y }}
	fastMax = binaryFast{op: kernel.Max, known: true}
	fastMin = binaryFast{op: kernel.Min, known: true}
	fastPow = binaryFast{f: pow32, with: powScalar}
)

func pow32(x, y float32) float32 {
	if y == 2 {
		return x * x
	}
	return float32(math.Pow(float64(x), float64(y)))
}

// powScalar knows the exponents that models have.
func powScalar(dst, x []float32, y float32) bool {
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
		if math.IsInf(float64(kernel.Least(x)), -1) {
			return false // (-Inf)^0.5 is +Inf
		}
		kernel.Sqrt(dst, x)
	default:
		return false
	}
	return true
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
	for i, v := range a {
		dst[i] = f.f(v, b[i])
	}
}

func (f binaryFast) scalar(dst, a []float32, s float32) {
	if f.known {
		kernel.MapScalar(f.op, dst, a, s)
		return
	}
	if f.with != nil && f.with(dst, a, s) {
		return
	}
	for i, v := range a {
		dst[i] = f.f(v, s)
	}
}

func (f binaryFast) scalarFirst(dst []float32, s float32, b []float32) {
	switch {
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

// reduceFast is the float32 kernel of a reduction: row folds one row of numbers that are next
// to each other. Sums also have a form for rows that are apart.
type reduceFast struct {
	sum, mean bool
	row       func(x []float32) float32
}

var (
	fastSum       = reduceFast{sum: true, row: kernel.Sum}
	fastMean      = reduceFast{sum: true, mean: true, row: kernel.Sum}
	fastSumSquare = reduceFast{row: func(x []float32) float32 { return kernel.Dot(x, x) }}
	fastGreatest  = reduceFast{row: kernel.Greatest}
	fastLeast     = reduceFast{row: kernel.Least}
)

var (
	fastNorm   = reduceFast{row: func(x []float32) float32 { return float32(math.Sqrt(float64(kernel.Dot(x, x)))) }}
	fastLogSum = reduceFast{row: func(x []float32) float32 { return float32(detmath.Log(float64(kernel.Sum(x)))) }}
	fastSumAbs = reduceFast{row: func(x []float32) float32 {
		var buf [sumBlock]float32
		s := float32(0)
		for len(x) > 0 {
			d := buf[:min(len(x), sumBlock)]
			for i, v := range x[:len(d)] {
				d[i] = max(v, -v)
			}
			s += kernel.Sum(d)
			x = x[len(d):]
		}
		return s
	}}
	fastLogSumExp = reduceFast{row: func(x []float32) float32 {
		top := fastGreatest.row(x)
		if math.IsInf(float64(top), 0) {
			top = 0
		}
		var buf [sumBlock]float32
		s := float32(0)
		for len(x) > 0 {
			d := buf[:min(len(x), sumBlock)]
			for i, v := range x[:len(d)] {
				d[i] = v - top
			}
			kernel.Exp(d, d)
			s += kernel.Sum(d)
			x = x[len(d):]
		}
		return float32(detmath.Log(float64(s))) + top
	}}
)

// sumBlock is the number of elements that are changed, then summed by kernel.Sum; block follows block.
const sumBlock = 256

// foldBlock is the number of rows that are summed into one partial row; partial rows are then
// added in ascending order. It is part of the canonical order of a sum over leading axes.
const foldBlock = 256

// reduceKernel folds trailing axes (one row each), and sums over leading axes or one run of axes in the middle.
func reduceKernel(p *Prep, f reduceFast) (Kernel, bool) {
	s := p.In[0].Shape
	if t := p.in(1); t != nil && t.Data == nil && t.Elems() > 0 {
		return Kernel{}, false // the axes are known at run time only
	}
	if f.row == nil || p.In[0].DType != tensor.Float32 || s.Elems() == 0 {
		return Kernel{}, false
	}
	set, ok, err := reducedAxes(p.Node, p.in(1), len(s))
	if err != nil || !ok {
		return Kernel{}, false
	}
	P, n, Q, ok := oneRun(s, set)
	if !ok || Q != 1 && !f.sum {
		return Kernel{}, false
	}
	scale := float32(1)
	if f.mean {
		scale = float32(n)
	}
	if Q == 1 {
		per := rowsPer(n)
		return Kernel{Run: split((P+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
			x, y := in[0].Float32s(), out[0].Float32s()
			for i := task * per; i < min(P, (task+1)*per); i++ {
				y[i] = f.row(x[i*n:(i+1)*n]) / scale
			}
		})}, true
	}
	blocks := (n + foldBlock - 1) / foldBlock
	fold := func(in, out []*tensor.Tensor, scratch []byte, task int) {
		pi, b := task/blocks, task%blocks
		part := floatsIn(scratch)[task*Q : (task+1)*Q]
		clear(part)
		x := in[0].Float32s()[(pi*n+b*foldBlock)*Q:]
		kernel.ColSum(part, x, min(foldBlock, n-b*foldBlock), Q)
	}
	first := split(P*blocks, fold)
	return Kernel{Scratch: 4*P*blocks*Q + 64, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		first(in, out, scratch)
		part, y := floatsIn(scratch), out[0].Float32s()
		for i := 0; i < P; i++ {
			row := y[i*Q : (i+1)*Q]
			clear(row)
			kernel.ColSum(row, part[i*blocks*Q:], blocks, Q)
			if scale != 1 {
				kernel.MapScalar(kernel.Div, row, row, scale)
			}
		}
	}}, true
}

// oneRun sees a reduction as [P, n, Q] folded over n, if the folded axes are next to each other.
func oneRun(s tensor.Shape, set []bool) (P, n, Q int, ok bool) {
	P, n, Q = 1, 1, 1
	state := 0
	for i, d := range s {
		if d == 1 {
			continue
		}
		switch {
		case set[i] && state <= 1:
			state, n = 1, n*d
		case set[i]:
			return 0, 0, 0, false
		case state == 0:
			P *= d
		default:
			state, Q = 2, Q*d
		}
	}
	return P, n, Q, true
}
