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

// binaryFast is the float32 kernel of a binary operator: one of kernel's if known, and the plain function.
type binaryFast struct {
	op    kernel.Binary
	known bool
	f     func(x, y float32) float32
}

var (
	fastAdd = binaryFast{op: kernel.Add, known: true, f: func(x, y float32) float32 { return x + y }}
	fastSub = binaryFast{op: kernel.Sub, known: true, f: func(x, y float32) float32 { return x - y }}
	fastMul = binaryFast{op: kernel.Mul, known: true, f: func(x, y float32) float32 { return x * y }}
	fastDiv = binaryFast{op: kernel.Div, known: true, f: func(x, y float32) float32 { return x / y }}
	fastMax = binaryFast{f: func(x, y float32) float32 { return max(x, y) }}
	fastMin = binaryFast{f: func(x, y float32) float32 { return min(x, y) }}
	fastPow = binaryFast{f: func(x, y float32) float32 {
		if y == 2 { // what squares are exported as
			return x * x
		}
		return float32(math.Pow(float64(x), float64(y)))
	}}
)

// each applies an exactly rounded function of one number; the loop is the kernel.
func each(f func(x float32) float32) fastUnary {
	return func(*graph.Node) func(dst, x []float32) {
		return func(dst, x []float32) {
			for i, v := range x {
				dst[i] = f(v)
			}
		}
	}
}

var (
	fastAbs        = each(func(x float32) float32 { return float32(math.Abs(float64(x))) })
	fastNeg        = each(func(x float32) float32 { return -x })
	fastReciprocal = each(func(x float32) float32 { return 1 / x })
	fastSqrt       = each(func(x float32) float32 { return float32(math.Sqrt(float64(x))) })
	fastRelu       = each(func(x float32) float32 { return max(x, 0) })
	fastExp        = func(*graph.Node) func(dst, x []float32) { return kernel.Exp }
	fastGelu       = func(n *graph.Node) func(dst, x []float32) {
		if n.Str("approximate", "none") == "tanh" {
			return kernel.GeluTanh
		}
		return nil
	}
)

// mapKernel applies f to chunks of n elements.
func mapKernel(n int, f func(dst, x []float32)) Kernel {
	return Kernel{Over: 1, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		f(out[0].Float32s()[lo:hi], in[0].Float32s()[lo:hi])
	})}
}

// binaryKernel handles equal shapes, a scalar, a repeated trailing block (a bias), and a
// value per row; other broadcasts run element by element.
func binaryKernel(p *Prep, f binaryFast) (Kernel, bool) {
	if p.Out[0].DType != tensor.Float32 || p.In[0].DType != tensor.Float32 || p.In[1].DType != tensor.Float32 {
		return Kernel{}, false
	}
	out, a, b := p.Out[0].Shape, p.In[0].Shape, p.In[1].Shape
	n := out.Elems()
	if n == 0 || a.Elems() == 0 || b.Elems() == 0 {
		return Kernel{Run: func([]*tensor.Tensor, []*tensor.Tensor, []byte) {}}, n == 0
	}
	full := func(s tensor.Shape) bool { return s.Elems() == n }
	switch {
	case full(a) && full(b):
		return Kernel{Over: 1, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			f.pair(out[0].Float32s()[lo:hi], in[0].Float32s()[lo:hi], in[1].Float32s()[lo:hi])
		})}, true
	case full(a) && b.Elems() == 1:
		return Kernel{Over: 1, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			f.scalar(out[0].Float32s()[lo:hi], in[0].Float32s()[lo:hi], in[1].Float32s()[0])
		})}, true
	case full(b) && a.Elems() == 1:
		return Kernel{Over: 2, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			f.scalarFirst(out[0].Float32s()[lo:hi], in[0].Float32s()[0], in[1].Float32s()[lo:hi])
		})}, true
	case full(a) && suffix(out, b):
		return f.blocks(n, b.Elems(), false), true
	case full(b) && suffix(out, a):
		return f.blocks(n, a.Elems(), true), true
	case full(a) && perRow(out, b):
		return f.rows(n, lastAxis(out)), true
	}
	return broadcastKernel(p, func(out, x, y *tensor.Tensor, lo, hi, i, j, di, dj int) {
		d, a, b := out.Float32s()[lo:hi], x.Float32s(), y.Float32s()
		for k := range d {
			d[k] = f.f(a[i], b[j])
			i, j = i+di, j+dj
		}
	})
}

// suffix reports whether s, without leading ones, is the end of out.
func suffix(out, s tensor.Shape) bool {
	for len(s) > 0 && s[0] == 1 {
		s = s[1:]
	}
	return len(s) <= len(out) && out[len(out)-len(s):].Equal(s)
}

// perRow reports whether s is out with a last axis of one.
func perRow(out, s tensor.Shape) bool {
	k := len(out) - 1
	return k >= 0 && len(s) == len(out) && s[k] == 1 && out[:k].Equal(s[:k])
}

// blocks repeats the smaller operand of m elements; first says that it is operand 0.
func (f binaryFast) blocks(n, m int, first bool) Kernel {
	per := rowsPer(m)
	k := Kernel{Over: 1}
	small, large := 1, 0
	if first {
		k.Over, small, large = 2, 0, 1
	}
	k.Run = split((n/m+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		s, l, d := in[small].Float32s(), in[large].Float32s(), out[0].Float32s()
		for i := task * per; i < min(n/m, (task+1)*per); i++ {
			if first {
				f.pair(d[i*m:(i+1)*m], s, l[i*m:(i+1)*m])
			} else {
				f.pair(d[i*m:(i+1)*m], l[i*m:(i+1)*m], s)
			}
		}
	})
	return k
}

// rows applies one value per row of m elements.
func (f binaryFast) rows(n, m int) Kernel {
	per := rowsPer(m)
	return Kernel{Over: 1, Run: split((n/m+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		a, s, d := in[0].Float32s(), in[1].Float32s(), out[0].Float32s()
		for i := task * per; i < min(n/m, (task+1)*per); i++ {
			f.scalar(d[i*m:(i+1)*m], a[i*m:(i+1)*m], s[i])
		}
	})}
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
		for i, v := range b {
			dst[i] = s - v
		}
	case f.op == kernel.Div:
		for i, v := range b {
			dst[i] = s / v
		}
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
	fastGreatest  = reduceFast{row: func(x []float32) float32 {
		m := x[0]
		for _, v := range x[1:] {
			m = max(m, v)
		}
		return m
	}}
	fastLeast = reduceFast{row: func(x []float32) float32 {
		m := x[0]
		for _, v := range x[1:] {
			m = min(m, v)
		}
		return m
	}}
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
