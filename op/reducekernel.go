package op

import (
	"math"

	"muster/internal/detmath"
	"muster/internal/kernel"
	"muster/internal/team"
	"muster/tensor"
)

// reduceFast is the float32 kernel of a reduction: row folds numbers that are next to each other, fold joins
// what was folded before. Orders are canonical: a row as kernel.Sum has it, columns in blocks of foldBlock rows,
// runs of axes from the last to the first.
type reduceFast struct {
	row  func(x []float32) float32
	fold kernel.Binary
	pre  before                           // of every number
	post func(y []float32, count int)     // of the results of count numbers each; nil: none
	own  func(P, n, Q int) (Kernel, bool) // for one run of axes, instead of all this
}

// before is what is done to every number before it is folded. It is a number, not a function, so that buffers stay on the stack.
type before uint8

const (
	asIs before = iota
	squared
	absolute
)

func (b before) apply(dst, x []float32) {
	switch b {
	case squared:
		kernel.Map2(kernel.Mul, dst, x, x)
	case absolute:
		kernel.Abs(dst, x)
	default:
		copy(dst, x)
	}
}

func sumSquares(x []float32) float32 { return kernel.Dot(x, x) }

var (
	fastSum  = reduceFast{row: kernel.Sum, fold: kernel.Add}
	fastMean = reduceFast{row: kernel.Sum, fold: kernel.Add, post: func(y []float32, count int) {
		kernel.MapScalar(kernel.Div, y, y, float32(count))
	}}
	fastSumSquare = reduceFast{row: sumSquares, fold: kernel.Add, pre: squared}
	fastSumAbs    = reduceFast{row: kernel.AbsSum, fold: kernel.Add, pre: absolute}
	fastNorm      = reduceFast{row: sumSquares, fold: kernel.Add, pre: squared, post: func(y []float32, _ int) { kernel.Sqrt(y, y) }}
	fastLogSum    = reduceFast{row: kernel.Sum, fold: kernel.Add, post: func(y []float32, _ int) {
		for i, v := range y {
			y[i] = float32(detmath.Log(float64(v)))
		}
	}}
	fastGreatest  = reduceFast{row: kernel.Greatest, fold: kernel.Max}
	fastLeast     = reduceFast{row: kernel.Least, fold: kernel.Min}
	fastProd      = reduceFast{own: prodKernel}
	fastLogSumExp = reduceFast{own: logSumExpKernel}
)

// rowOf folds results of the stage before.
func (f *reduceFast) rowOf(first bool) func(x []float32) float32 {
	switch {
	case first:
		return f.row
	case f.fold == kernel.Max:
		return kernel.Greatest
	case f.fold == kernel.Min:
		return kernel.Least
	}
	return kernel.Sum
}

// foldBlock is the number of rows that are folded into one partial row; partial rows are then
// folded in ascending order.
const foldBlock = 256

// foldCols is how many columns a task folds, foldWide how many rows of few columns go side by side.
const (
	foldCols = 1 << 12
	foldWide = 16
	foldFew  = 32 // columns
)

func reduceKernel(p *Prep, f reduceFast) (Kernel, bool) {
	s := p.In[0].Shape
	if t := p.in(1); t != nil && t.Data == nil && t.Elems() > 0 {
		return Kernel{}, false // the axes are known at run time only
	}
	if f.row == nil && f.own == nil || p.In[0].DType != tensor.Float32 || s.Elems() == 0 {
		return Kernel{}, false
	}
	set, ok, err := reducedAxes(p.Node, p.in(1), len(s))
	if err != nil || !ok {
		return Kernel{}, false
	}
	list := stagesOf(s, set)
	if f.own != nil {
		if len(list) != 1 {
			return Kernel{}, false
		}
		return f.own(list[0].P, list[0].n, list[0].Q)
	}
	at := 0
	for i := range list {
		st := &list[i]
		st.prepare(f, i == 0)
		if i < len(list)-1 {
			st.out, at = at, at+st.P*st.Q
		}
		st.part, at = at, at+st.parts()
	}
	count := s.Elems() / p.Out[0].Elems()
	return Kernel{Scratch: 4*at + 64, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		x, buf, y := in[0].Float32s(), floatsIn(scratch), out[0].Float32s()
		for i := range list {
			st, to := &list[i], y
			if i < len(list)-1 {
				to = buf[st.out:][:st.P*st.Q]
			}
			st.run(x, to, buf[st.part:][:st.parts()])
			x = to
		}
		if f.post != nil {
			f.post(y, count)
		}
	}}, true
}

// stage folds [P, n, Q] over n.
type stage struct {
	P, n, Q   int
	out, part int // where its result and its partial rows are in the scratch
	first     bool
	f         reduceFast
	row       func(x []float32) float32
	blocks    int // of rows
	strips    int // of columns
	per       int // rows of a task, without columns

	x, y, parted []float32
	fold, join   func(task int)
}

// stagesOf lists the runs of folded axes of s from the last to the first.
func stagesOf(s tensor.Shape, set []bool) []stage {
	type run struct {
		n      int
		folded bool
	}
	var runs []run
	for i, d := range s {
		if d == 1 {
			continue
		}
		if k := len(runs) - 1; k >= 0 && runs[k].folded == set[i] {
			runs[k].n *= d
		} else {
			runs = append(runs, run{d, set[i]})
		}
	}
	var list []stage
	for len(runs) > 0 {
		k := len(runs) - 1
		Q := 1
		for ; k >= 0 && !runs[k].folded; k-- {
			Q *= runs[k].n
		}
		if k < 0 {
			break
		}
		P := 1
		for _, r := range runs[:k] {
			P *= r.n
		}
		list = append(list, stage{P: P, n: runs[k].n, Q: Q})
		runs = append(runs[:k:k], run{Q, false})
	}
	if list == nil {
		list = []stage{{P: 1, n: 1, Q: s.Elems()}}
	}
	return list
}

func (st *stage) prepare(f reduceFast, first bool) {
	st.f, st.first, st.row = f, first, f.rowOf(first)
	st.per = rowsPer(st.n)
	st.blocks, st.strips = (st.n+foldBlock-1)/foldBlock, (st.Q+foldCols-1)/foldCols
	st.fold, st.join = st.foldTask, st.joinTask
}

// parts is the number of elements of the partial rows.
func (st *stage) parts() int {
	if st.Q == 1 || st.blocks == 1 {
		return 0
	}
	return st.P * st.blocks * st.Q
}

func (st *stage) run(x, y, parted []float32) {
	st.x, st.y, st.parted = x, y, parted
	if st.Q == 1 {
		team.Run((st.P+st.per-1)/st.per, st.fold)
		return
	}
	team.Run(st.P*st.blocks*st.strips, st.fold)
	if st.blocks > 1 {
		team.Run(st.P*st.strips, st.join)
	}
}

// foldTask folds some rows to a number each, or a block of rows to one row.
func (st *stage) foldTask(task int) {
	if st.Q == 1 {
		for i := task * st.per; i < min(st.P, (task+1)*st.per); i++ {
			st.y[i] = st.row(st.x[i*st.n : (i+1)*st.n])
		}
		return
	}
	strip, block := task%st.strips, task/st.strips%st.blocks
	pi := task / st.strips / st.blocks
	c0 := strip * foldCols
	cols := min(foldCols, st.Q-c0)
	rows := min(foldBlock, st.n-block*foldBlock)
	x := st.x[(pi*st.n+block*foldBlock)*st.Q+c0:]
	to := st.y[pi*st.Q+c0:][:cols]
	if st.blocks > 1 {
		to = st.parted[(pi*st.blocks+block)*st.Q+c0:][:cols]
	}
	if st.Q <= foldFew && rows >= 2*foldWide {
		st.few(to, x, rows)
		return
	}
	st.columns(to, x, rows, st.Q)
}

// columns folds rows of len(to) numbers, step apart.
func (st *stage) columns(to, x []float32, rows, step int) {
	pre := st.f.pre
	if !st.first {
		pre = asIs
	}
	var buf [foldCols]float32
	for r := range rows {
		row := x[r*step:][:len(to)]
		switch {
		case r == 0:
			pre.apply(to, row)
		case pre == asIs:
			kernel.Map2(st.f.fold, to, to, row)
		default:
			pre.apply(buf[:len(to)], row)
			kernel.Map2(st.f.fold, to, to, buf[:len(to)])
		}
	}
}

// few folds rows of few numbers foldWide at a time side by side, then the sides, then the rows that are left.
func (st *stage) few(to, x []float32, rows int) {
	var side [foldWide * foldFew]float32
	Q, groups := st.Q, rows/foldWide
	w := side[:foldWide*Q]
	st.columns(w, x, groups, foldWide*Q)
	rest := *st
	rest.first = false
	rest.columns(to, w, foldWide, Q)
	if left := rows - groups*foldWide; left > 0 {
		var last [foldFew]float32
		st.columns(last[:Q], x[groups*foldWide*Q:], left, Q)
		kernel.Map2(st.f.fold, to, to, last[:Q])
	}
}

// joinTask folds partial rows.
func (st *stage) joinTask(task int) {
	pi, c0 := task/st.strips, task%st.strips*foldCols
	cols := min(foldCols, st.Q-c0)
	to := st.y[pi*st.Q+c0:][:cols]
	for b := range st.blocks {
		row := st.parted[(pi*st.blocks+b)*st.Q+c0:][:cols]
		if b == 0 {
			copy(to, row)
		} else {
			kernel.Map2(st.f.fold, to, to, row)
		}
	}
}

// prodKernel multiplies in float64, as the reference does.
func prodKernel(P, n, Q int) (Kernel, bool) {
	return Kernel{Run: rowKernel(P, n*Q, func(in, out []*tensor.Tensor, lo, hi int) {
		for p := lo; p < hi; p++ {
			x, y := in[0].Float32s()[p*n*Q:(p+1)*n*Q], out[0].Float32s()[p*Q:(p+1)*Q]
			if Q == 1 {
				y[0] = kernel.Product(x)
				continue
			}
			for c := 0; c < Q; c += foldBlock {
				multiplyColumns(y[c:min(Q, c+foldBlock)], x[c:], n, Q)
			}
		}
	})}, true
}

func multiplyColumns(y, x []float32, n, step int) {
	var buf [foldBlock]float64
	acc := buf[:len(y)]
	for i := range acc {
		acc[i] = 1
	}
	for r := range n {
		kernel.ColumnProduct(acc, x[r*step:][:len(acc)])
	}
	for i, v := range acc {
		y[i] = float32(v)
	}
}

// logSumExpKernel is log(sum of e^(x - m)) + m with m the greatest x, 0 where that is -Inf.
func logSumExpKernel(P, n, Q int) (Kernel, bool) {
	if Q == 1 {
		return Kernel{Run: rowKernel(P, n, func(in, out []*tensor.Tensor, lo, hi int) {
			var buf [stripCols]float32
			for ; lo < hi; lo += stripCols {
				sum := out[0].Float32s()[lo:min(hi, lo+stripCols)]
				top := buf[:len(sum)]
				for i := range sum {
					x := in[0].Float32s()[(lo+i)*n:][:n]
					top[i] = finiteTop(kernel.Top(x))
					sum[i] = kernel.ExpSum(x, top[i])
				}
				logPlus(sum, top)
			}
		})}, true
	}
	return Kernel{Run: strips(P, n, Q, func(in, out []*tensor.Tensor, p, c, cols int) {
		var a [stripCols]float32
		m, sum := a[:cols], out[0].Float32s()[p*Q+c:][:cols]
		x := in[0].Float32s()[p*n*Q+c:]
		greatestColumns(m, x, n, Q)
		for i, v := range m {
			m[i] = finiteTop(v)
		}
		clear(sum)
		for r := range n {
			kernel.ExpColumnSum(sum, x[r*Q:][:cols], m)
		}
		logPlus(sum, m)
	})}, true
}

// finiteTop is what is subtracted from numbers whose greatest is m: of no numbers but -Inf, 0.
func finiteTop(m float32) float32 {
	if math.IsInf(float64(m), -1) {
		return 0
	}
	return m
}

// logPlus is sum = log(sum) + m, infinite where m is.
func logPlus(sum, m []float32) {
	kernel.Log(sum, sum)
	kernel.Map2(kernel.Add, sum, sum, m)
	for i, v := range m {
		if math.IsInf(float64(v), 1) {
			sum[i] = v
		}
	}
}

// stripCols is how many columns are worked on at once where an axis that is not the last is gone over several times.
const stripCols = 256

// strips splits [P, n, Q] into strips of columns.
func strips(P, n, Q int, f func(in, out []*tensor.Tensor, p, c, cols int)) func(in, out []*tensor.Tensor, scratch []byte) {
	each := (Q + stripCols - 1) / stripCols
	per := max(1, chunk/max(1, n*stripCols))
	total := P * each
	return split((total+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		for t := task * per; t < min(total, (task+1)*per); t++ {
			c := t % each * stripCols
			f(in, out, t/each, c, min(stripCols, Q-c))
		}
	})
}

// greatestColumns is the greatest of every column of n rows.
func greatestColumns(m, x []float32, n, step int) {
	copy(m, x)
	for r := 1; r < n; r++ {
		kernel.Map2(kernel.Max, m, m, x[r*step:][:len(m)])
	}
}

// softmaxColumns is softmax, or its logarithm, over an axis that is not the last.
func softmaxColumns(P, n, Q int, logarithm bool) Kernel {
	return Kernel{Over: 1, Run: strips(P, n, Q, func(in, out []*tensor.Tensor, p, c, cols int) {
		var a, b [stripCols]float32
		m, sum := a[:cols], b[:cols]
		x, y := in[0].Float32s()[p*n*Q+c:], out[0].Float32s()[p*n*Q+c:]
		greatestColumns(m, x, n, Q)
		for r := range n {
			if logarithm {
				kernel.ExpColumnSum(sum, x[r*Q:][:cols], m)
			} else {
				kernel.ExpColumns(y[r*Q:][:cols], sum, x[r*Q:][:cols], m)
			}
		}
		if !logarithm {
			reciprocal(sum, sum)
			for r := range n {
				d := y[r*Q:][:cols]
				kernel.Map2(kernel.Mul, d, d, sum)
			}
			return
		}
		kernel.Log(sum, sum)
		for r := range n {
			d := y[r*Q:][:cols]
			kernel.Map2(kernel.Sub, d, x[r*Q:][:cols], m)
			kernel.Map2(kernel.Sub, d, d, sum)
		}
	})}
}
