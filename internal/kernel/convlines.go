package kernel

// The direct form of a convolution with stride 1 along the width: outputs beside each other read rows of X that
// begin C elements apart and overlap, so a micro-kernel reads them where they are. Only the outputs at the ends of
// a line, whose windows hang over, are gathered. It pays where lines are long.

// longLine is the least number of outputs along the width.
const longLine = 24

// inPlace reports whether a class has the direct form, and finds the outputs it is for.
func (v *Conv) inPlace(c *convClass) bool {
	a := c.axes[2]
	if v.Groups != 1 || a.outStep != 1 || c.axes[0].outStep != 1 || c.axes[1].outStep != 1 || a.inStep != 1 || a.count < longLine || len(a.taps) == 0 {
		return false
	}
	first, last := a.taps[0].off, a.taps[len(a.taps)-1].off
	if last-first != len(a.taps)-1 {
		return false
	}
	c.lo, c.hi = max(0, -first), min(a.count, v.Axes[2].In-last)
	return c.hi-c.lo >= longLine/2
}

// splitLines chooses the tasks: some lines each, and panels where the lines are few.
func (c *convClass) splitLines(images, nj int) {
	w := c.axes[2].count
	all := images * c.axes[0].count * c.axes[1].count
	c.lines = min(max(1, ceilDiv(512, w)), max(1, ceilDiv(all, 16)), maxLines)
	c.mBlocks = ceilDiv(all, c.lines)
	c.jBlocks = 1
	for c.mBlocks*c.jBlocks < 16 && nj/(2*c.jBlocks) >= 1 {
		c.jBlocks *= 2
	}
	c.jBlocks = max(c.jBlocks, ceilDiv(nj, apartPanels))
	c.jStep = ceilDiv(nj, c.jBlocks)
	c.jBlocks = ceilDiv(nj, c.jStep)
	c.tasks = c.mBlocks * c.jBlocks
	c.kStep = max(1, (ceilDiv(c.k, max(1, ceilDiv(c.k, kBlock)))+3)&^3)
}

// maxLines bounds the lines of a task.
const maxLines = 32

// linesTask computes some lines for some panels.
func (v *Conv) linesTask(c *convClass, t int) {
	im, jb := t%c.mBlocks, t/c.mBlocks
	l0, j0 := im*c.lines, jb*c.jStep
	l1, j1 := min(l0+c.lines, v.N*c.axes[0].count*c.axes[1].count), min(j0+c.jStep, panels(v.M))
	for j := j0; j < j1; j++ {
		v.middles(c, j, l0, l1)
	}
	b := gathers.get()
	v.ends(c, b, j0, j1, l0, l1)
	gathers.put(b)
	if w := c.axes[2].count; v.Post.wanted() {
		m0 := j0 * panel
		v.Post.finish(v.Y, v.M, l0*w, l1*w, m0, min(j1*panel, v.M)-m0)
	}
}

// middles computes the outputs of lines l0 to l1 that lie between the ends, for panel j.
func (v *Conv) middles(c *convClass, j, l0, l1 int) {
	var started [maxLines]bool
	var bias []float32
	start := fromZero
	if v.Bias != nil {
		bias, start = v.Bias[j*panel:], fromBias
	}
	w := operand{row: panel, width: min(panel, v.M-j*panel), padded: true}
	for s := range c.segs {
		seg := &c.segs[s]
		for k0 := 0; k0 < seg.n*v.C; k0 += kBlock {
			kc := min(kBlock, seg.n*v.C-k0)
			w.data = v.W[c.at+(j*c.k+seg.at+k0)*panel:]
			p := c.position(l0 * c.axes[2].count)
			for l := l0; l < l1; l++ {
				d, h := p.d*c.axes[0].inStep+seg.d, p.h*c.axes[1].inStep+seg.h
				if uint(d) < uint(v.Axes[0].In) && uint(h) < uint(v.Axes[1].In) {
					at := (((p.n*v.Axes[0].In+d)*v.Axes[1].In+h)*v.Axes[2].In + c.lo + seg.w) * v.C
					mode := fromC
					if !started[l-l0] {
						mode, started[l-l0] = start, true
					}
					gemmRows(v.tier, c.hi-c.lo, kc, v.X[at+k0:], v.C, 1, w, v.Y[(l*c.axes[2].count+c.lo)*v.M+j*panel:], v.M, mode, bias)
				}
				p.w = c.axes[2].count - 1
				p.next(c)
			}
		}
	}
	for l := l0; l < l1; l++ { // nothing but padding
		if !started[l-l0] {
			gemmRows(v.tier, c.hi-c.lo, 0, nil, 0, 0, w, v.Y[(l*c.axes[2].count+c.lo)*v.M+j*panel:], v.M, start, bias)
		}
	}
}

// ends gathers and computes the outputs at both ends of lines l0 to l1, for panels j0 to j1.
func (v *Conv) ends(c *convClass, b *gathered, j0, j1, l0, l1 int) {
	count := c.axes[2].count
	per := c.lo + count - c.hi // of a line
	if per == 0 {
		return
	}
	place := func(i int) int { // of end i
		l, w := l0+i/per, i%per
		if w >= c.lo {
			w += c.hi - c.lo
		}
		return l*count + w
	}
	ldc := apartPanels * panel
	for i0 := 0; i0 < per*(l1-l0); i0 += rowBlock {
		n := min(rowBlock, per*(l1-l0)-i0)
		for k0 := 0; k0 == 0 || k0 < c.k; k0 += c.kStep {
			kc := min(c.kStep, c.k-k0)
			first, last := c.within(k0, kc, v.C)
			for i := 0; i < n; i++ {
				v.gatherRow(c, 0, c.position(place(i0+i)), first, last, k0, b.rows[i*kc:][:kc])
			}
			for j := j0; j < j1; j++ {
				var bias []float32
				mode := fromC
				if k0 == 0 {
					mode = fromZero
					if v.Bias != nil {
						mode, bias = fromBias, v.Bias[j*panel:]
					}
				}
				w := operand{data: v.W[c.at+(j*c.k+k0)*panel:], row: panel, width: min(panel, v.M-j*panel), padded: true}
				gemmRows(v.tier, n, kc, b.rows[:], kc, 1, w, b.out[(j-j0)*panel:], ldc, mode, bias)
			}
		}
		m0 := j0 * panel
		width := min(j1*panel, v.M) - m0
		for i := 0; i < n; i++ {
			copy(v.Y[place(i0+i)*v.M+m0:][:width], b.out[i*ldc:][:width])
		}
	}
}
