package kernel

import (
	"muster/internal/cpu"
	"muster/internal/team"
)

// Axes: N images, C input channels, M output channels, D, H, W positions (of the input or the output), K taps times channels.

// ConvAxis is the geometry along one spatial axis: tap k of output position o reads input position
// o*Stride + k*Dilation - Pad. In the adjoint (Back) input i adds to output i*Stride + k*Dilation - Pad.
type ConvAxis struct {
	In, Out                     int // sizes of X and Y
	Taps, Stride, Dilation, Pad int
}

// Window is what slides over channels-last tensors X [N, D, H, W, C] and Y [N, D, H, W, M].
type Window struct {
	N, C, M int
	Axes    [3]ConvAxis
	Back    bool // the adjoint: a transposed convolution
}

// Positions is the number of outputs of all images.
func (w *Window) Positions() int { return w.N * w.Axes[0].Out * w.Axes[1].Out * w.Axes[2].Out }

// Conv is a convolution of channels-last tensors as a product of gathered rows of X with packed weights:
//
//	Y = act(bias + sum over taps and channels of X W + residual)
//
// Every sum is one chain of fused multiply-adds over the taps in the order of the input's positions, then
// the channels of the group, on every tier and for every number of threads. Rows are gathered block by block
// into the second cache; the matrix of all rows never exists.
type Conv struct {
	Window
	Groups int
	X, Y   []float32
	W      []float32 // packed by Pack
	Bias   []float32 // [M] or nil
	Post   Post      // Residual has the shape of Y; LDR and StrideR are not used

	classes []convClass
	size    int // of W
	tasks   int
	tier    cpu.Tier
	src     []float32 // weights under way to W
	dst     []float32
	run     func(int)
	pack    func(int)
}

// convClass are the outputs that see the same taps: all of them, or in the adjoint those with one rest modulo the strides.
type convClass struct {
	axes         [3]classAxis
	segs         []segment
	taps         []int // positions in the kernel (row-major) in the order of the packed rows
	rows, k      int   // outputs of all images; rows of packed weights
	at           int   // where its packed weights start
	first, tasks int
	mBlocks      int
	blockRows    int
	jBlocks      int
	jStep        int
	kStep        int

	lines  int // outputs along the width that a task of the direct form does; 0: rows are gathered
	lo, hi int // outputs whose taps along the width are all inside
}

// classAxis: output out0 + j*outStep reads inputs j*inStep + offset, for j below count.
type classAxis struct {
	count, out0, outStep, inStep int
	taps                         []tap
}

// tap is one tap of an axis: its place in the kernel and its offset in the input.
type tap struct{ k, off int }

// segment is a run of n taps along the width whose inputs follow each other in memory; at is its first packed row.
type segment struct{ d, h, w, n, at int }

// classes lists the classes of an axis.
func (a ConvAxis) classes(back bool) []classAxis {
	if !back {
		c := classAxis{count: a.Out, outStep: 1, inStep: a.Stride}
		for k := 0; k < a.Taps; k++ {
			c.taps = append(c.taps, tap{k, k*a.Dilation - a.Pad})
		}
		return []classAxis{c}
	}
	var list []classAxis
	for r := 0; r < min(a.Stride, a.Out); r++ {
		c := classAxis{count: ceilDiv(a.Out-r, a.Stride), out0: r, outStep: a.Stride, inStep: 1}
		for k := a.Taps - 1; k >= 0; k-- { // in the order of the input
			if at := r + a.Pad - k*a.Dilation; at%a.Stride == 0 {
				c.taps = append(c.taps, tap{k, at / a.Stride})
			}
		}
		list = append(list, c)
	}
	return list
}

// all lists the classes of the three axes together, with their taps in the order of the input.
func (w *Window) all() []convClass {
	var list []convClass
	for _, d := range w.Axes[0].classes(w.Back) {
		for _, h := range w.Axes[1].classes(w.Back) {
			for _, x := range w.Axes[2].classes(w.Back) {
				c := convClass{axes: [3]classAxis{d, h, x}, rows: w.N * d.count * h.count * x.count}
				for _, td := range d.taps {
					for _, th := range h.taps {
						for _, tx := range x.taps {
							c.taps = append(c.taps, (td.k*w.Axes[1].Taps+th.k)*w.Axes[2].Taps+tx.k)
						}
					}
				}
				list = append(list, c)
			}
		}
	}
	return list
}

// segments joins taps along the width that follow each other, if join is set.
func (c *convClass) segments(channels int, join bool) {
	for _, d := range c.axes[0].taps {
		for _, h := range c.axes[1].taps {
			for _, w := range c.axes[2].taps {
				if n := len(c.segs); join && n > 0 {
					if s := &c.segs[n-1]; s.d == d.off && s.h == h.off && s.w+s.n == w.off {
						s.n++
						c.k += channels
						continue
					}
				}
				c.segs = append(c.segs, segment{d.off, h.off, w.off, 1, c.k})
				c.k += channels
			}
		}
	}
}

// Plan prepares the geometry; Window and Groups must be set. It splits by shape only.
func (v *Conv) Plan() {
	v.classes, v.size, v.tasks = v.all(), 0, 0
	cg, mg := v.C/v.Groups, v.M/v.Groups
	for i := range v.classes {
		c := &v.classes[i]
		c.segments(cg, v.Groups == 1)
		c.at = v.size
		v.size += v.Groups * panels(mg) * c.k * panel
		c.first = v.tasks
		if v.inPlace(c) {
			c.splitLines(v.N, panels(mg))
		} else {
			c.split(v.Groups, panels(mg), c.axes[2].outStep != 1 || c.axes[1].outStep != 1 || c.axes[0].outStep != 1)
		}
		v.tasks += c.tasks
	}
	v.run, v.pack = v.task, v.packTask
}

// split chooses the tasks of a class: first over rows, then over panels.
func (c *convClass) split(groups, nj int, apart bool) {
	c.kStep = max(1, (ceilDiv(c.k, max(1, ceilDiv(c.k, kBlock)))+3)&^3)
	c.blockRows = min(rowBlock, max(28, ceilDiv(c.rows, 16)))
	c.mBlocks = ceilDiv(c.rows, c.blockRows)
	if c.mBlocks == 0 {
		return
	}
	c.blockRows = ceilDiv(c.rows, c.mBlocks)
	c.jBlocks = 1
	for c.mBlocks*groups*c.jBlocks < 16 && nj/(2*c.jBlocks) >= 2 && c.blockRows*c.k*panel*nj/(2*c.jBlocks) >= minTask {
		c.jBlocks *= 2
	}
	if apart {
		c.jBlocks = max(c.jBlocks, ceilDiv(nj, apartPanels))
	}
	c.jStep = ceilDiv(nj, c.jBlocks)
	c.jBlocks = ceilDiv(nj, c.jStep)
	c.tasks = c.mBlocks * c.jBlocks * groups
}

// PackedSize is the length of W.
func (v *Conv) PackedSize() int { return v.size }

// Pack writes the weights w to dst in the order the product reads them: w is [M, C/Groups, taps], or
// [C, M/Groups, taps] in the adjoint.
func (v *Conv) Pack(dst, w []float32) {
	v.src, v.dst, v.tier = w, dst, cpu.Active()
	team.Run(len(v.classes)*v.Groups*panels(v.M/v.Groups), v.pack)
	v.src, v.dst = nil, nil
}

// packTask packs one panel of one group of a class.
func (v *Conv) packTask(t int) {
	cg, mg := v.C/v.Groups, v.M/v.Groups
	nj := panels(mg)
	j, g, c := t%nj, t/nj%v.Groups, &v.classes[t/nj/v.Groups]
	dst := v.dst[c.at+(g*nj+j)*c.k*panel:][:c.k*panel]
	taps := v.Axes[0].Taps * v.Axes[1].Taps * v.Axes[2].Taps
	n := min(panel, mg-j*panel)
	clear(dst)
	if v.Back {
		for i := 0; i < cg; i++ {
			src := v.src[((g*cg+i)*mg+j*panel)*taps:]
			for r, k := range c.taps {
				row := dst[(r*cg+i)*panel:][:n]
				for m := range row {
					row[m] = src[m*taps+k]
				}
			}
		}
		return
	}
	src := v.src[(g*mg+j*panel)*cg*taps:]
	if taps == 1 {
		transpose(v.tier, dst, panel, src, cg, n, cg)
		return
	}
	b := gathers.get()
	defer gathers.put(b)
	step := max(1, len(b.rows)/panel/taps) // channels at once
	for i := 0; i < cg; i += step {
		count := min(step, cg-i)
		if count*taps*panel > len(b.rows) { // a kernel larger than the buffer
			packSlow(dst, src[i*taps:], c.taps, cg, taps, n, i, count)
			continue
		}
		transpose(v.tier, b.rows[:], panel, src[i*taps:], cg*taps, n, count*taps)
		for r, k := range c.taps {
			for q := 0; q < count; q++ {
				copy(dst[(r*cg+i+q)*panel:][:n], b.rows[(q*taps+k)*panel:][:n])
			}
		}
	}
}

// packSlow is packTask element by element.
func packSlow(dst, src []float32, order []int, cg, taps, n, i, count int) {
	for r, k := range order {
		for q := 0; q < count; q++ {
			for m := 0; m < n; m++ {
				dst[(r*cg+i+q)*panel+m] = src[m*cg*taps+q*taps+k]
			}
		}
	}
}

// apartPanels bounds the panels of a task whose results go through a buffer, because its outputs lie apart.
const apartPanels = 8

// gather are the buffers of a task: gathered rows of X, and results on their way.
type gathered struct {
	rows [rowBlock * (kBlock + 16)]float32
	out  [rowBlock * apartPanels * panel]float32
}

var gathers = pool[gathered]{make: func() *gathered { return &gathered{} }}

// Run computes Y. It allocates nothing once the buffers were used.
func (v *Conv) Run() {
	v.tier = cpu.Active()
	if 2*v.N*v.M*v.C/max(v.Groups, 1)*v.Axes[0].Out*v.Axes[1].Out*v.Axes[2].Out < serialFlops>>3 {
		for t := 0; t < v.tasks; t++ {
			v.task(t)
		}
		return
	}
	team.Run(v.tasks, v.run)
}

// task computes a block of rows and panels of a group of a class.
func (v *Conv) task(t int) {
	i := 0
	for t >= v.classes[i].first+v.classes[i].tasks {
		i++
	}
	c := &v.classes[i]
	t -= c.first
	if c.lines > 0 {
		v.linesTask(c, t)
		return
	}
	im, jb, g := t%c.mBlocks, t/c.mBlocks%c.jBlocks, t/c.mBlocks/c.jBlocks
	mg := v.M / v.Groups
	nj := panels(mg)
	i0, j0 := im*c.blockRows, jb*c.jStep
	i1, j1 := min(i0+c.blockRows, c.rows), min(j0+c.jStep, nj)
	b := gathers.get()
	defer gathers.put(b)
	apart := c.axes[0].outStep != 1 || c.axes[1].outStep != 1 || c.axes[2].outStep != 1
	m0 := g*mg + j0*panel // first column of Y
	width := min(j1*panel, mg) - j0*panel
	y, ldc := b.out[:], apartPanels*panel
	if !apart {
		y, ldc = v.Y[i0*v.M+m0:], v.M
	}
	for k0 := 0; k0 == 0 || k0 < c.k; k0 += c.kStep {
		kc := min(c.kStep, c.k-k0)
		pitch := kc
		if pitch%64 == 0 {
			pitch += 16
		}
		v.gather(c, g, i0, i1, k0, kc, b.rows[:], pitch)
		mode := fromC
		if k0 == 0 {
			mode = fromZero
			if v.Bias != nil {
				mode = fromBias
			}
		}
		for j := j0; j < j1; j++ {
			var bias []float32
			if v.Bias != nil {
				bias = v.Bias[g*mg+j*panel:]
			}
			w := operand{data: v.W[c.at+((g*nj+j)*c.k+k0)*panel:], row: panel, width: min(panel, mg-j*panel), padded: true}
			gemmRows(v.tier, i1-i0, kc, b.rows[:], pitch, 1, w, y[(j-j0)*panel:], ldc, mode, bias)
		}
	}
	if apart {
		v.scatter(c, i0, i1, y, ldc, m0, width)
	} else if v.Post.wanted() {
		v.Post.finish(v.Y, v.M, i0, i1, m0, width)
	}
}

// finish applies the residual and the activation to rows i0 to i1 of columns m0 to m0+width of y, which has ld columns.
func (p *Post) finish(y []float32, ld, i0, i1, m0, width int) {
	if width == ld {
		i1, ld, width, i0, m0 = 1, 0, (i1-i0)*width, 0, i0*ld
	}
	for i := i0; i < i1; i++ {
		at := i*ld + m0
		row := y[at : at+width]
		if p.Residual != nil {
			Map2(Add, row, row, p.Residual[at:at+width])
		}
		if p.Act != ActNone {
			Activate(p.Act, row, row, p.Lo, p.Hi)
		}
	}
}

// scatter writes finished rows to outputs that lie apart.
func (v *Conv) scatter(c *convClass, i0, i1 int, y []float32, ldc, m0, width int) {
	p := c.position(i0)
	for i := i0; i < i1; i++ {
		at := (((p.n*v.Axes[0].Out+c.axes[0].out0+p.d*c.axes[0].outStep)*v.Axes[1].Out+c.axes[1].out0+p.h*c.axes[1].outStep)*v.Axes[2].Out + c.axes[2].out0 + p.w*c.axes[2].outStep)
		copy(v.Y[at*v.M+m0:][:width], y[(i-i0)*ldc:][:width])
		if v.Post.wanted() {
			v.Post.finish(v.Y, v.M, at, at+1, m0, width)
		}
		p.next(c)
	}
}

// position is an output of a class.
type position struct{ n, d, h, w int }

func (c *convClass) position(i int) position {
	w := i % c.axes[2].count
	i /= c.axes[2].count
	h := i % c.axes[1].count
	i /= c.axes[1].count
	return position{i / c.axes[0].count, i % c.axes[0].count, h, w}
}

func (p *position) next(c *convClass) {
	if p.w++; p.w < c.axes[2].count {
		return
	}
	p.w = 0
	if p.h++; p.h < c.axes[1].count {
		return
	}
	p.h = 0
	if p.d++; p.d < c.axes[0].count {
		return
	}
	p.d = 0
	p.n++
}

// within are the segments that hold packed rows k0 to k0+kc.
func (c *convClass) within(k0, kc, cg int) (first, last int) {
	last = len(c.segs)
	for first < last && c.segs[first].at+c.segs[first].n*cg <= k0 {
		first++
	}
	for last > first && c.segs[last-1].at >= k0+kc {
		last--
	}
	return first, last
}

// gather copies what rows i0 to i1 read for packed rows k0 to k0+kc; padding is zero.
func (v *Conv) gather(c *convClass, g, i0, i1, k0, kc int, dst []float32, pitch int) {
	cg := v.C / v.Groups
	first, last := c.within(k0, kc, cg)
	p := c.position(i0)
	for i := i0; i < i1; i++ {
		v.gatherRow(c, g, p, first, last, k0, dst[(i-i0)*pitch:][:kc])
		p.next(c)
	}
}

// gatherRow copies what output p reads for packed rows from k0 on, which lie in the segments first to last.
func (v *Conv) gatherRow(c *convClass, g int, p position, first, last, k0 int, row []float32) {
	cg := v.C / v.Groups
	for s := first; s < last; s++ {
		seg := &c.segs[s]
		lo, hi := max(seg.at, k0)-seg.at, min(seg.at+seg.n*cg, k0+len(row))-seg.at // elements of the segment
		out := row[seg.at+lo-k0:][:hi-lo]
		d, h, w := p.d*c.axes[0].inStep+seg.d, p.h*c.axes[1].inStep+seg.h, p.w*c.axes[2].inStep+seg.w
		if uint(d) >= uint(v.Axes[0].In) || uint(h) >= uint(v.Axes[1].In) {
			clear(out)
			continue
		}
		at := (((p.n*v.Axes[0].In+d)*v.Axes[1].In+h)*v.Axes[2].In+w)*v.C + g*cg
		if w >= 0 && w+seg.n <= v.Axes[2].In {
			copy(out, v.X[at+lo:at+hi])
			continue
		}
		from, to := min(max(lo, -w*cg), hi), max(min(hi, (v.Axes[2].In-w)*cg), lo) // inside the input
		if from >= to {
			clear(out)
			continue
		}
		clear(out[:from-lo])
		copy(out[from-lo:to-lo], v.X[at+from:at+to])
		clear(out[to-lo:])
	}
}
