package op

import (
	"sync/atomic"
	"unsafe"

	"muster/fault"
	"muster/internal/team"
	"muster/tensor"
)

// Fast forms of the Gather and Scatter operators. Tasks never write to one element from two sides: they split
// lanes, blocks of columns or ranges of destinations, always by shape.

// word are the element types that are copied as machine words.
type word interface {
	uint8 | uint16 | uint32 | uint64
}

// copyInto copies src to dst unless they are one buffer.
func copyInto(dst, src []byte) {
	if len(dst) > 0 && unsafe.Pointer(&dst[0]) != unsafe.Pointer(&src[0]) {
		copy(dst, src)
	}
}

// copyTasks returns a Run that copies input 0 to output 0 in parallel.
func copyTasks(n int) func(in, out []*tensor.Tensor, scratch []byte) {
	const per = 1 << 18 // bytes
	return split((n+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := task*per, min(n, (task+1)*per)
		copyInto(out[0].Data[lo:hi], in[0].Data[lo:hi])
	})
}

// rangeCheck checks indices into an axis of n, long lists in parallel; the first bad one is named.
func rangeCheck[T int32 | int64](v []T, n int64) error {
	var bad atomic.Bool
	part := func(v []T) {
		ok := true
		for _, x := range v {
			ok = uint64(int64(x)+n) < uint64(2*n) && ok
		}
		if !ok {
			bad.Store(true)
		}
	}
	const per = 1 << 16
	if len(v) <= per {
		part(v)
	} else {
		team.Run((len(v)+per-1)/per, func(task int) { part(v[task*per : min(len(v), (task+1)*per)]) })
	}
	if !bad.Load() {
		return nil
	}
	for i, x := range v {
		if int64(x) < -n || int64(x) >= n {
			return fault.New(fault.Mismatch, "", "index %d at element %d is not in an axis of %d", x, i, n)
		}
	}
	return nil
}

// lane is one axis of data [P, n, Q] met by indices [P, K, Q]; ok is false where the other axes differ.
type lane struct{ P, n, K, Q int }

func laneOf(x, idx tensor.Shape, a int64) (l lane, ok bool) {
	at := wrap(a, len(x))
	for i := range x {
		if i != at && x[i] != idx[i] {
			return l, false
		}
	}
	return lane{x[:at].Elems(), x[at], idx[at], x[at+1:].Elems()}, true
}

// block is how many columns of Q one task takes, so that tasks are long enough and there are several.
func (l lane) block() (cols, tasks int) {
	cols = max(1, min(l.Q, max(64, chunk/max(1, l.K))))
	return cols, l.P * ((l.Q + cols - 1) / cols)
}

// part is the outer index of a task and its columns.
func (l lane) part(task int) (p, lo, hi int) {
	cols, _ := l.block()
	parts := (l.Q + cols - 1) / cols
	return task / parts, task % parts * cols, min(l.Q, task%parts*cols+cols)
}

// split runs f for every task; short ones go together.
func (l lane) split(f func(in, out []*tensor.Tensor, p, lo, hi int)) func(in, out []*tensor.Tensor, scratch []byte) {
	cols, tasks := l.block()
	per := max(1, chunk/2/max(1, l.K*cols))
	return split((tasks+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		for t := task * per; t < min(tasks, (task+1)*per); t++ {
			p, lo, hi := l.part(t)
			f(in, out, p, lo, hi)
		}
	})
}

func laneCheck(i int, n int) func(in []*tensor.Tensor) error {
	return func(in []*tensor.Tensor) error { return indexCheck(in[i], int64(n)) }
}

// gatherElementsKernel reads 4- and 8-byte elements through int64 or int32 indices.
func gatherElementsKernel(p *Prep) (Kernel, bool) {
	l, ok := laneOf(p.In[0].Shape, p.In[1].Shape, p.Node.Int("axis", 0))
	if !ok {
		return Kernel{}, false
	}
	var f func(in, out []*tensor.Tensor, p, lo, hi int)
	bits, long := p.In[0].DType.Bits(), p.In[1].DType == tensor.Int64
	switch {
	case bits == 32 && long:
		f = gatherLane[uint32, int64](l)
	case bits == 32:
		f = gatherLane[uint32, int32](l)
	case bits == 64 && long:
		f = gatherLane[uint64, int64](l)
	case bits == 64:
		f = gatherLane[uint64, int32](l)
	default:
		return Kernel{}, false
	}
	return Kernel{Run: l.split(f), Check: laneCheck(1, l.n)}, true
}

// indexWords views an index tensor as T.
func indexWords[T int32 | int64](t *tensor.Tensor) []T {
	if len(t.Data) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(&t.Data[0])), len(t.Data)/int(unsafe.Sizeof(z)))
}

// taken copies x[i step] for the indices i; negative ones count from n.
func taken[T word, I int32 | int64](d, x []T, idx []I, n, step int) {
	d = d[:len(idx)]
	if step == 1 {
		for k, i := range idx {
			j := int(i)
			j += j >> 63 & n
			d[k] = x[j]
		}
		return
	}
	for k, i := range idx {
		j := int(i)
		j += j >> 63 & n
		d[k] = x[j*step]
	}
}

func gatherLane[T uint32 | uint64, I int32 | int64](l lane) func(in, out []*tensor.Tensor, p, lo, hi int) {
	return func(in, out []*tensor.Tensor, p, lo, hi int) {
		x, y, idx := words[T](in[0].Data)[p*l.n*l.Q:], words[T](out[0].Data)[p*l.K*l.Q:], indexWords[I](in[1])[p*l.K*l.Q:]
		if l.Q == 1 {
			taken(y, x, idx[:l.K], l.n, 1)
			return
		}
		for k := 0; k < l.K; k++ {
			row := idx[k*l.Q+lo : k*l.Q+hi]
			d, s := y[k*l.Q+lo:][:len(row)], x[lo:]
			for q, i := range row {
				j := int(i)
				j += j >> 63 & l.n
				d[q] = s[j*l.Q+q]
			}
		}
	}
}

// scatterElementsKernel is for float32 and int64 data whose other axes are covered by the indices.
func scatterElementsKernel(p *Prep) (Kernel, bool) {
	if !p.In[1].Shape.Equal(p.In[2].Shape) || len(p.In[1].Shape) != len(p.In[0].Shape) {
		return Kernel{}, false
	}
	l, ok := laneOf(p.In[0].Shape, p.In[1].Shape, p.Node.Int("axis", 0))
	if !ok {
		return Kernel{}, false
	}
	how, long := p.Node.Str("reduction", "none"), p.In[1].DType == tensor.Int64
	var f func(in, out []*tensor.Tensor, p, lo, hi int)
	switch d := p.In[0].DType; {
	case d == tensor.Float32 && long:
		f = scatterLane[float32, int64](l, how, (*tensor.Tensor).Float32s)
	case d == tensor.Float32:
		f = scatterLane[float32, int32](l, how, (*tensor.Tensor).Float32s)
	case d == tensor.Int64 && long:
		f = scatterLane[int64, int64](l, how, (*tensor.Tensor).Int64s)
	case d == tensor.Int64:
		f = scatterLane[int64, int32](l, how, (*tensor.Tensor).Int64s)
	default:
		return Kernel{}, false
	}
	first, then := copyTasks(p.Out[0].DType.Bytes(p.Out[0].Elems())), l.split(f)
	return Kernel{Over: 1, Check: laneCheck(1, l.n), Run: func(in, out []*tensor.Tensor, s []byte) {
		first(in, out, s)
		then(in, out, s)
	}}, true
}

func scatterLane[T float32 | int64, I int32 | int64](l lane, how string, of func(*tensor.Tensor) []T) func(in, out []*tensor.Tensor, p, lo, hi int) {
	return func(in, out []*tensor.Tensor, p, lo, hi int) {
		y, u, idx := of(out[0])[p*l.n*l.Q:], of(in[2])[p*l.K*l.Q:], indexWords[I](in[1])[p*l.K*l.Q:]
		if l.Q == 1 {
			scatterRow(y, u[:l.K], idx[:l.K], l.n, 1, 0, how)
			return
		}
		for k := 0; k < l.K; k++ {
			scatterRow(y[lo:], u[k*l.Q+lo:k*l.Q+hi], idx[k*l.Q+lo:k*l.Q+hi], l.n, l.Q, 1, how)
		}
	}
}

// scatterRow combines u[q] with y[idx[q] stride + q step].
func scatterRow[T float32 | int64, I int32 | int64](y, u []T, idx []I, n, stride, step int, how string) {
	idx = idx[:len(u)]
	switch how {
	case "none":
		for q, x := range u {
			j := int(idx[q])
			j += j >> 63 & n
			y[j*stride+q*step] = x
		}
	case "add":
		for q, x := range u {
			j := int(idx[q])
			j += j >> 63 & n
			y[j*stride+q*step] += x
		}
	default:
		for q := range u {
			j := int(idx[q])
			j += j >> 63 & n
			combine(y[j*stride+q*step:][:1], u[q:q+1], how)
		}
	}
}

// tuples reads the places that index tuples name without a list.
type tuples struct {
	batch, q, K, size, Q int
	n, stride            [maxAxes]int
}

func tuplesOf(x, idx tensor.Shape, batch int) (t tuples, ok bool) {
	r := len(idx) - 1
	if r < batch || batch+idx[r] > len(x) || idx[r] > maxAxes || !x[:batch].Equal(idx[:batch]) {
		return t, false
	}
	st := x.Strides()
	t = tuples{batch: batch, q: idx[r], K: idx[batch:r].Elems(), size: x[batch:].Elems(), Q: x[batch+idx[r]:].Elems()}
	for a := 0; a < t.q; a++ {
		t.n[a], t.stride[a] = x[batch+a], st[batch+a]
	}
	return t, true
}

// place is the element where block i starts.
func (t *tuples) place(idx *tensor.Tensor, i int) int {
	p := i / t.K * t.size
	for a := 0; a < t.q; a++ {
		v := int(index(idx, i*t.q+a))
		if v < 0 {
			v += t.n[a]
		}
		p += v * t.stride[a]
	}
	return p
}

func (t *tuples) check(in []*tensor.Tensor) error {
	for i, n := 0, in[1].Elems(); i < n; i++ {
		if v, n := index(in[1], i), int64(t.n[i%t.q]); v < -n || v >= n {
			return fault.New(fault.Mismatch, "", "index %d at element %d is not in an axis of %d", v, i, n)
		}
	}
	return nil
}

// gatherNDKernel copies the blocks of some tuples per task.
func gatherNDKernel(p *Prep) (Kernel, bool) {
	t, ok := tuplesOf(p.In[0].Shape, p.In[1].Shape, int(p.Node.Int("batch_dims", 0)))
	if !ok {
		return Kernel{}, false
	}
	size := p.In[0].DType.Bits() / 8
	n := p.In[1].Shape[:len(p.In[1].Shape)-1].Elems()
	if t.Q == 0 {
		n = 0
	}
	per := max(1, chunk/max(8, t.Q))
	row := t.Q * size
	return Kernel{Check: t.check, Run: split((n+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		for i := task * per; i < min(n, (task+1)*per); i++ {
			copy(out[0].Data[i*row:(i+1)*row], in[0].Data[t.place(in[1], i)*size:])
		}
	})}, true
}

// scatterNDKernel gives every task a range of destinations; it skips the blocks that start elsewhere.
func scatterNDKernel(p *Prep) (Kernel, bool) {
	t, ok := tuplesOf(p.In[0].Shape, p.In[1].Shape, 0)
	d, how := p.In[0].DType, p.Node.Str("reduction", "none")
	if !ok || d != tensor.Float32 && d != tensor.Int64 && how != "none" || t.Q == 0 || p.In[2].Elems() != t.K*t.Q {
		return Kernel{}, false
	}
	size, K := d.Bits()/8, t.K
	tasks := 1
	if t.Q >= 32 {
		tasks = max(1, min(8, K*t.Q/chunk))
	}
	each := (t.size/t.Q + tasks - 1) / tasks * t.Q
	f := func(in, out []*tensor.Tensor, _ []byte, task int) {
		for i := 0; i < K; i++ {
			to := t.place(in[1], i)
			if to < task*each || to >= (task+1)*each {
				continue
			}
			switch {
			case how == "none":
				copy(out[0].Data[to*size:][:t.Q*size], in[2].Data[i*t.Q*size:])
			case d == tensor.Float32:
				combine(out[0].Float32s()[to:][:t.Q], in[2].Float32s()[i*t.Q:][:t.Q], how)
			default:
				combine(out[0].Int64s()[to:][:t.Q], in[2].Int64s()[i*t.Q:][:t.Q], how)
			}
		}
	}
	first, then := copyTasks(d.Bytes(t.size)), split(tasks, f)
	return Kernel{Over: 1, Check: t.check, Run: func(in, out []*tensor.Tensor, s []byte) {
		first(in, out, s)
		then(in, out, s)
	}}, true
}

// gatherKernel copies rows of Q elements: single 4- and 8-byte elements through typed loops, rows as bytes.
func gatherKernel(p *Prep) (Kernel, bool) {
	x, idx := p.In[0], p.In[1]
	at := wrap(p.Node.Int("axis", 0), len(x.Shape))
	P, n, K := x.Shape[:at].Elems(), x.Shape[at], idx.Elems()
	q := x.DType.Bytes(x.Shape[at+1:].Elems())
	if K == 1 && q == 4 {
		return Kernel{Run: gatherOne(P, n), Check: laneCheck(1, n)}, true
	}
	if q == 4 && P >= 4 && n < 1<<31 {
		return gatherWords(P, n, K), true
	}
	var f func(in, out []*tensor.Tensor, p, lo, hi int)
	long := idx.DType == tensor.Int64
	switch {
	case q == 4 && long:
		f = gatherRows[uint32, int64](n, K)
	case q == 4:
		f = gatherRows[uint32, int32](n, K)
	case q == 8 && long && x.DType.Bits() == 64:
		f = gatherRows[uint64, int64](n, K)
	default:
		f = func(in, out []*tensor.Tensor, p, lo, hi int) {
			for k := lo; k < hi; k++ {
				i := wrap(index(in[1], k), n)
				copy(out[0].Data[(p*K+k)*q:(p*K+k+1)*q], in[0].Data[(p*n+i)*q:])
			}
		}
	}
	l := lane{P: P, n: n, K: max(q/4, 1), Q: K} // the rows are split as columns of q bytes
	if q == 0 {
		l.P = 0
	}
	return Kernel{Run: l.split(f), Check: laneCheck(1, n)}, true
}

func gatherRows[T uint32 | uint64, I int32 | int64](n, K int) func(in, out []*tensor.Tensor, p, lo, hi int) {
	return func(in, out []*tensor.Tensor, p, lo, hi int) {
		taken(words[T](out[0].Data)[p*K+lo:], words[T](in[0].Data)[p*n:], indexWords[I](in[1])[lo:hi], n, 1)
	}
}

// gatherWords reads the same 4-byte elements of every row of n: the indices are made ready once.
func gatherWords(P, n, K int) Kernel {
	rows := rowKernelScratch(P, K, func(in, out []*tensor.Tensor, scratch []byte, lo, hi int) {
		at := words[uint32](scratch[:4*K])
		for p := lo; p < hi; p += 2 {
			q := min(p+1, hi-1) // two rows share the reading of their indices
			takeTwo(words[uint32](out[0].Data)[p*K:][:K], words[uint32](out[0].Data)[q*K:][:K], words[uint32](in[0].Data)[p*n:][:n], words[uint32](in[0].Data)[q*n:][:n], at)
		}
	})
	return Kernel{Scratch: 4*K + 64, Check: laneCheck(1, n), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		at := words[uint32](scratch[:4*K])
		for k := range at {
			at[k] = uint32(wrap(index(in[1], k), n))
		}
		rows(in, out, scratch)
	}}
}

// takeTwo is d[k] = x[at[k]] and e[k] = y[at[k]]; x and y are of one length, d, e and at too.
func takeTwo(d, e, x, y, at []uint32) {
	d, e, y = d[:len(at)], e[:len(at)], y[:len(x)]
	for k, i := range at {
		d[k], e[k] = x[i], y[i]
	}
}

// gatherOne reads one 4-byte element of every row of n.
func gatherOne(P, n int) func(in, out []*tensor.Tensor, scratch []byte) {
	return split(tasksFor(P), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(P, task)
		x, y := words[uint32](in[0].Data), words[uint32](out[0].Data)
		at := lo*n + wrap(index(in[1], 0), n)
		for p := lo; p < hi; p++ {
			y[p] = x[at]
			at += n
		}
	})
}
