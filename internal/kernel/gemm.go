package kernel

import (
	"muster/internal/cpu"
	"muster/internal/team"
)

// Gemm is one matrix product, or a batch of them: C = op(A) x op(B), row-major float32.
//
//	op(A) is [M, K]: A[i*LDA+k], or A[k*LDA+i] with TransA
//	op(B) is [K, N]: B[k*LDB+n], or B[n*LDB+k] with TransB
//	C[i*LDC+n] = act(start + sum over k of op(A)[i,k] * op(B)[k,n] + residual)
//
// Every sum is one chain of fused multiply-adds over k = 0, 1, ..., K-1 that starts
// from 0, from Bias[n], or from the C that is there (Accumulate). That order holds on
// every tier, for every number of threads and for every blocking. Post comes after the
// chain and gives the bits of separate passes.
type Gemm struct {
	M, N, K    int
	A          []float32
	LDA        int
	TransA     bool
	B          []float32
	LDB        int
	TransB     bool
	C          []float32
	LDC        int
	Accumulate bool
	Bias       []float32 // [N] or nil
	Packed     *PackedB  // op(B) packed before; B is not read then
	NBits      *PackedNB // op(B) in few bits, turned into float32 where it is used; B is not read then
	Batch      int       // products; 0 is 1
	StrideA    int       // elements between the matrices of a batch
	StrideB    int
	StrideC    int
	Post       Post
	Half       bool // op(A) and op(B) are rounded to bfloat16 first; see gemm_half.go. Not with Packed or NBits
}

const (
	panel    = 32  // width of a packed panel of B in columns
	kBlock   = 384 // most k steps of one pass over a tile: C is read and written again for every pass, and four panels and a block of A stay in the second cache
	rowBlock = 168 // most rows of one task; a multiple of 14 and of 6

	serialFlops = 1 << 17 // work below which a second thread cannot help
	minTask     = 1 << 20 // multiply-adds of a task, at least: some 10 to 20 microseconds
	maxTask     = 1 << 25 // and at most
	aliasing    = 1 << 10 // rows that are a multiple of so many words apart share few sets of the first cache
	slicePanels = 4       // panels that are packed next to the kernel at once, so that B is read in longer pieces
	sliceRows   = 32      // rows from which on it pays to copy a panel of a B whose rows alias
	tallRows    = 1024    // most rows that one task takes where B is sliced
	tallPanels  = 16      // panels from which on there are tasks enough if each takes all rows
	axpyRows    = 3       // most rows for which B is read in the order of memory
)

// form is how the kernel reads B. It depends on the shape alone, so that the work is the same on every machine.
type form uint8

const (
	direct form = iota // where it is
	given              // packed before by the caller
	packed             // packed by this call, before the product
	sliced             // a panel is packed where it is used: every panel is used by one task only
)

func (g *Gemm) form() form {
	switch batch := max(g.Batch, 1); {
	case g.Packed != nil:
		return given
	case g.NBits != nil:
		return sliced
	case g.tall():
		return sliced
	case g.M > rowBlock, g.StrideB == 0 && batch > 1 && g.M*batch > rowBlock:
		return packed
	case g.Half, g.TransB, g.LDB%aliasing == 0 && g.M >= sliceRows:
		return sliced
	}
	return direct
}

// tall reports whether a task takes the rows of several blocks: then a B that is used a few times only is not
// copied to memory first.
func (g *Gemm) tall() bool {
	return g.M > rowBlock && g.M <= tallRows && g.Batch <= 1 && panels(g.N) >= tallPanels
}

// copiesA reports whether op(A) is copied to rows along k first: where it is transposed and too
// far apart to be read so, or where its rows would fall on each other in the cache.
func (g *Gemm) copiesA() bool {
	if g.Half {
		return true
	}
	if g.M < 8 || g.N <= 2*panel || g.K < 16 {
		return false
	}
	return g.TransA && g.LDA >= 384 || !g.TransA && g.LDA%aliasing == 0
}

// rowsOfA is the distance of the rows of a copied A.
func (g *Gemm) rowsOfA() int {
	kp := (g.K + 15) &^ 15
	if kp%(aliasing/4) == 0 {
		kp += 16
	}
	return kp
}

// Run computes the product. It splits over the team by shape only and allocates nothing.
func (g *Gemm) Run(scratch []byte) {
	if g.M == 0 || g.N == 0 {
		return
	}
	r := run{Gemm: g, tier: cpu.Active(), batch: max(g.Batch, 1), nj: panels(g.N), form: g.form(), copyA: g.copiesA(), steps: g.K}
	if r.half = g.halves(r.tier); r.half == bfloat16 {
		r.steps = ceilDiv(g.K, 2)
	}
	r.carve(scratch)
	r.plan()
	if 2*g.M*g.N*g.K*r.batch < serialFlops {
		for t := 0; t < r.packTasks(); t++ {
			r.pack(t)
		}
		for t := 0; t < r.tasks; t++ {
			r.task(t)
		}
		return
	}
	r.parallel()
}

// run is one call under way.
type run struct {
	*Gemm
	tier      cpu.Tier
	batch, nj int
	form      form
	half      halves
	steps     int       // elements of a row of a or of a column of packed: K, or pairs of k
	packed    []float32 // op(B) in panels
	copyA     bool
	a         []float32 // op(A) row by row
	kp        int       // elements between rows of a
	rows      int       // rows of a task
	height    int       // rows that meet a few panels before the next ones
	mBlocks   int       // tasks over rows
	jStep     int       // panels of a task
	jBlocks   int       // tasks over panels
	kStep     int       // k of a pass
	items     int       // batch items of a task
	tasks     int
}

// plan chooses the tasks: about 1/32 of the work each, within bounds, so that a block of A is read from the
// second cache for several panels.
func (r *run) plan() {
	r.mBlocks = ceilDiv(r.M, rowBlock)
	r.height = ceilDiv(r.M, r.mBlocks)
	if r.rows = r.height; r.form == sliced {
		r.mBlocks, r.rows = 1, r.M
	}
	r.kStep = max(1, (ceilDiv(r.steps, max(1, ceilDiv(r.steps, kBlock)))+7)&^7)
	r.jStep, r.items = r.nj, 1
	if one := r.rows * r.K * panel; one > 0 {
		all := one * r.nj * r.mBlocks
		r.jStep = min(max(1, min(max(all*r.batch/32, minTask), maxTask)/one), r.nj)
		if r.form == sliced && r.M > rowBlock {
			r.jStep = max(1, min(slicePanels, r.nj/8))
		} else if r.M <= axpyRows || r.Post.wanted() {
			r.jStep = min(max(r.jStep, 8), r.nj)
		} else if r.form == sliced {
			r.jStep = min(max(r.jStep, slicePanels), r.nj)
		}
		if all < minTask {
			r.items = min(max(1, minTask/all), r.batch)
		}
	}
	r.jBlocks = ceilDiv(r.nj, r.jStep)
	r.jStep = ceilDiv(r.nj, r.jBlocks)
	r.tasks = r.mBlocks * r.jBlocks * ceilDiv(r.batch, r.items)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// parallel runs the phases on the team. It is kept out of Run so that small products need no closures.
func (r *run) parallel() {
	p := runs.get()
	p.r = *r
	team.Run(r.packTasks(), p.pack)
	team.Run(r.tasks, p.task)
	p.r = run{}
	runs.put(p)
}

// task computes task t.
func (r *run) task(t int) {
	im, rest := t%r.mBlocks, t/r.mBlocks
	jb, ib := rest%r.jBlocks, rest/r.jBlocks
	i0, j0 := im*r.rows, jb*r.jStep
	i1, j1 := min(i0+r.rows, r.M), min(j0+r.jStep, r.nj)
	var s *slice
	if r.form == sliced {
		s = slices.get()
		defer slices.put(s)
	}
	for item := ib * r.items; item < min((ib+1)*r.items, r.batch); item++ {
		if r.form == direct && r.M <= axpyRows && r.tier != cpu.Ref {
			r.inOrder(item, j0, j1)
		} else {
			for k0 := 0; k0 == 0 || k0 < r.steps; k0 += r.kStep {
				r.pass(item, k0, i0, i1, j0, j1, s)
			}
		}
		if r.Post.wanted() {
			r.post(item, i0, i1, j0*panel, min(j1*panel, r.N))
		}
	}
}

// pass goes once over the panels j0 to j1 with the k from k0 on.
func (r *run) pass(item, k0, i0, i1, j0, j1 int, s *slice) {
	kc := min(r.kStep, r.steps-k0)
	if s == nil {
		for j := j0; j < j1; j++ {
			r.block(item, j, k0, kc, i0, i1, nil)
		}
		return
	}
	for ; j0 < j1; j0 += slicePanels {
		n := min(slicePanels, j1-j0)
		b := s.aligned()
		if r.NBits != nil {
			for j := range n {
				r.NBits.slicePanel(r.tier, b[j*kc*panel:], j0+j, k0, kc)
			}
		} else {
			r.packPanels(b, kc*panel, r.B[item*r.StrideB:], j0, n, k0, kc)
		}
		for i := i0; i < i1; i += r.height {
			for j := range n {
				r.block(item, j0+j, k0, kc, i, min(i+r.height, i1), b[j*kc*panel:])
			}
		}
	}
}

// block computes rows i0 to i1 of panel j over k0 to k0+kc; s is the packed panel if it was sliced.
func (r *run) block(item, j, k0, kc, i0, i1 int, s []float32) {
	b := operand{width: min(panel, r.N-j*panel), row: panel, padded: true}
	switch {
	case kc == 0:
	case r.form == direct:
		b.data, b.row, b.padded = r.B[item*r.StrideB+k0*r.LDB+j*panel:], r.LDB, false
	case r.form == sliced:
		b.data = s
	default:
		n := item
		if r.form == given || r.StrideB == 0 {
			n = 0
		}
		b.data = r.packed[((n*r.nj+j)*r.steps+k0)*panel:]
	}
	mode := fromZero
	switch {
	case k0 > 0 || r.Accumulate:
		mode = fromC
	case r.Bias != nil:
		mode = fromBias
	}
	a, arow, acol := r.rowsFrom(item, i0, k0)
	c := r.C[item*r.StrideC+i0*r.LDC+j*panel:]
	var bias []float32
	if r.Bias != nil {
		bias = r.Bias[j*panel:]
	}
	if r.half == bfloat16 {
		halfRows(i1-i0, kc, a, arow, b, c, r.LDC, mode, bias)
		return
	}
	gemmRows(r.tier, i1-i0, kc, a, arow, acol, b, c, r.LDC, mode, bias)
}

// rowsFrom is op(A) from row i and column k on, with the distances of its rows and columns.
func (r *run) rowsFrom(item, i, k int) (a []float32, row, col int) {
	switch {
	case r.copyA:
		return r.a[(item*r.M+i)*r.kp+k:], r.kp, 1
	case r.TransA:
		row, col = 1, r.LDA
	default:
		row, col = r.LDA, 1
	}
	return r.A[min(item*r.StrideA+i*row+k*col, len(r.A)):], row, col
}

// inOrder computes panels j0 to j1 of a few rows and goes through B in the order of memory, eight rows at a time.
func (r *run) inOrder(item, j0, j1 int) {
	n0, n1 := j0*panel, min(j1*panel, r.N)
	whole, k8 := (n1-n0)&^15, r.K&^7
	b := r.B[item*r.StrideB:]
	for i := 0; i < r.M; i++ {
		c := r.C[item*r.StrideC+i*r.LDC+n0:][:n1-n0]
		switch {
		case r.Accumulate:
		case r.Bias != nil:
			copy(c, r.Bias[n0:n1])
		default:
			clear(c)
		}
	}
	if whole > 0 {
		for k := 0; k < k8; k += 8 {
			for i := 0; i < r.M; i++ {
				a, _, acol := r.rowsFrom(item, i, k)
				axpy8(r.tier, r.C[item*r.StrideC+i*r.LDC+n0:][:whole], a, acol, b[k*r.LDB+n0:], r.LDB)
			}
		}
	}
	a, arow, acol := r.rowsFrom(item, 0, k8)
	c := r.C[item*r.StrideC+n0:]
	for n := 0; n < whole && k8 < r.K; n += panel {
		rest := operand{data: b[k8*r.LDB+n0+n:], row: r.LDB, width: min(panel, whole-n)}
		gemmRows(r.tier, r.M, r.K-k8, a, arow, acol, rest, c[n:], r.LDC, fromC, nil)
	}
	if whole < n1-n0 {
		a, arow, acol := r.rowsFrom(item, 0, 0)
		for k := 0; k < r.K; k += kBlock {
			edge := operand{data: b[k*r.LDB+n0+whole:], row: r.LDB, width: n1 - n0 - whole}
			gemmRows(r.tier, r.M, min(kBlock, r.K-k), a[k*acol:], arow, acol, edge, c[whole:], r.LDC, fromC, nil)
		}
	}
}

// wanted reports whether there is anything to do.
func (p *Post) wanted() bool { return p.Act != ActNone || p.Residual != nil }

// post finishes rows i0 to i1 of columns n0 to n1, which are in the cache still.
func (r *run) post(item, i0, i1, n0, n1 int) {
	p := &r.Post
	rows, w := i1-i0, n1-n0
	if w == r.N && r.LDC == w && (p.Residual == nil || p.LDR == w) {
		rows, w = 1, rows*w // the rows follow each other
	}
	for i := i0; i < i0+rows; i++ {
		c := r.C[item*r.StrideC+i*r.LDC+n0:][:w]
		if p.Residual != nil {
			Map2(Add, c, c, p.Residual[item*p.StrideR+i*p.LDR+n0:][:w])
		}
		if p.Act != ActNone {
			Activate(p.Act, c, c, p.Lo, p.Hi)
		}
	}
}

// operand is a panel of B: k rows of up to 32 columns.
type operand struct {
	data   []float32
	row    int  // elements between rows
	width  int  // columns
	padded bool // 32 columns can be read in every row
}

// zeros is what a tile points at where it has nothing to read.
var zeros [panel]float32

// Where the chain of a tile starts.
const (
	fromZero = iota
	fromC
	fromBias
)
