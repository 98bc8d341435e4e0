package kernel

import (
	"math"
	"unsafe"

	"muster/internal/cpu"
	"muster/internal/team"
)

// PlaneKind is what a Planes kernel does with the taps of a window.
type PlaneKind uint8

// Depthwise multiplies with one weight per tap and channel and adds; Max keeps the greatest, Mean the average.
const (
	Depthwise PlaneKind = iota
	MaxPool
	MeanPool
)

// Planes slides a window over every channel of channels-last tensors by itself, all channels side by side in
// vectors: depthwise convolutions and pools. Taps that fall into the padding are left out. Sums are one chain
// over the taps in the order of the input's positions, of fused multiply-adds for Depthwise.
type Planes struct {
	Window // M = C
	Kind   PlaneKind
	X, Y   []float32
	W      []float32 // Depthwise: packed by Pack, [taps, C] for every class
	Bias   []float32 // Depthwise: [C] or nil
	Post   Post
	// Count returns what Mean divides by for an output; nil: the taps inside X.
	Count func(d, h, w int) int

	classes []convClass
	lines   int // per task
	tasks   int
	tier    cpu.Tier
	zero    []float32
	run     func(int)
}

// Plan prepares the geometry; Window and Kind must be set.
func (v *Planes) Plan() {
	v.classes, v.tasks = v.all(), 0
	v.lines = max(1, (1<<17)/max(1, v.Axes[2].Out*v.C*max(1, v.taps())))
	at := 0
	for i := range v.classes {
		c := &v.classes[i]
		c.at = at
		at += len(c.taps) * v.C
		c.first = v.tasks
		c.tasks = ceilDiv(v.N*c.axes[0].count*c.axes[1].count, v.lines)
		v.tasks += c.tasks
	}
	if v.Bias == nil {
		v.zero = make([]float32, v.C+16)
	}
	v.run = v.task
}

func (w *Window) taps() int { return w.Axes[0].Taps * w.Axes[1].Taps * w.Axes[2].Taps }

// PackedSize is the length of W.
func (v *Planes) PackedSize() int { return v.taps()*v.C + 16 }

// Pack writes the weights w [C, taps] to dst as [taps, C].
func (v *Planes) Pack(dst, w []float32) {
	taps := v.taps()
	for _, c := range v.classes {
		for r, k := range c.taps {
			row := dst[c.at+r*v.C:][:v.C]
			for i := range row {
				row[i] = w[i*taps+k]
			}
		}
	}
}

// Run computes Y.
func (v *Planes) Run() {
	v.tier = cpu.Active()
	team.Run(v.tasks, v.run)
}

// reads are the taps that one output or several neighbours read.
type reads struct {
	table []int // pairs of byte offsets: from the output's place in X, from W
}

var readers = pool[reads]{make: func() *reads { return &reads{} }}

// strip is the argument of the micro-kernel: n outputs beside each other, all channels. Steps and offsets are in bytes.
type strip struct {
	n        int
	x        unsafe.Pointer
	xstep    int
	y        unsafe.Pointer
	ystep    int
	w, start unsafe.Pointer
	table    unsafe.Pointer
	taps     int
	size     int    // bytes of the channels that are done
	mask     uint64 // of the last vector
}

// task computes some lines (outputs along the width) of a class.
func (v *Planes) task(t int) {
	i := 0
	for t >= v.classes[i].first+v.classes[i].tasks {
		i++
	}
	c := &v.classes[i]
	t -= c.first
	r := readers.get()
	defer readers.put(r)
	for l := t * v.lines; l < min((t+1)*v.lines, v.N*c.axes[0].count*c.axes[1].count); l++ {
		h := l % c.axes[1].count
		d := l / c.axes[1].count % c.axes[0].count
		v.line(c, r, l/c.axes[1].count/c.axes[0].count, d, h)
	}
}

// line computes all outputs of a class along the width.
func (v *Planes) line(c *convClass, r *reads, n, d, h int) {
	x := c.axes[2]
	lo, hi := 0, x.count // outputs whose taps along the width are all inside
	if len(x.taps) > 0 {
		lo = min(x.count, max(0, ceilDiv(-x.taps[0].off, x.inStep)))
		if most := v.Axes[2].In - 1 - x.taps[len(x.taps)-1].off; most < 0 {
			hi = lo
		} else {
			hi = max(lo, min(x.count, most/x.inStep+1))
		}
	}
	for w := 0; w < x.count; w++ {
		count := 1
		if w == lo {
			count = max(1, hi-lo)
		}
		v.strip(c, r, n, d, h, w, count)
		w += count - 1
	}
	if v.Post.wanted() && x.outStep == 1 {
		row := v.outRow(c, n, d, h)
		v.Post.finish(v.Y, v.C, row, row+x.count, 0, v.C)
	}
}

// outRow is the place of the first output of a line.
func (v *Planes) outRow(c *convClass, n, d, h int) int {
	return ((n*v.Axes[0].Out+c.axes[0].out0+d*c.axes[0].outStep)*v.Axes[1].Out+c.axes[1].out0+h*c.axes[1].outStep)*v.Axes[2].Out + c.axes[2].out0
}

// strip computes count outputs from w on, which read the same taps.
func (v *Planes) strip(c *convClass, r *reads, n, d, h, w, count int) {
	r.table = r.table[:0]
	k := 0
	for _, td := range c.axes[0].taps {
		for _, th := range c.axes[1].taps {
			id, ih := d*c.axes[0].inStep+td.off, h*c.axes[1].inStep+th.off
			inside := uint(id) < uint(v.Axes[0].In) && uint(ih) < uint(v.Axes[1].In)
			for _, tx := range c.axes[2].taps {
				if iw := w*c.axes[2].inStep + tx.off; inside && iw >= 0 && iw < v.Axes[2].In {
					r.table = append(r.table, 4*v.C*((id*v.Axes[1].In+ih)*v.Axes[2].In+tx.off), 4*v.C*k)
				}
				k++
			}
		}
	}
	image := v.X[n*v.Axes[0].In*v.Axes[1].In*v.Axes[2].In*v.C:]
	row := v.outRow(c, n, d, h) + w*c.axes[2].outStep
	y := v.Y[row*v.C:]
	v.fill(c, r, image, w*c.axes[2].inStep*v.C, c.axes[2].inStep*v.C, y, c.axes[2].outStep*v.C, count)
	if v.Kind == MeanPool {
		v.divide(c, len(r.table)/2, y, row, count)
	}
	if v.Post.wanted() && c.axes[2].outStep != 1 {
		for i := 0; i < count; i++ {
			v.Post.finish(v.Y, v.C, row+i*c.axes[2].outStep, row+i*c.axes[2].outStep+1, 0, v.C)
		}
	}
}

// divide makes means of sums.
func (v *Planes) divide(c *convClass, taps int, y []float32, row, count int) {
	if v.Count == nil {
		MapScalar(Div, y[:count*v.C], y[:count*v.C], float32(taps))
		return
	}
	for i := 0; i < count; i++ {
		o := row + i
		w := o % v.Axes[2].Out
		o /= v.Axes[2].Out
		n := v.Count(o/v.Axes[1].Out%v.Axes[0].Out, o%v.Axes[1].Out, w)
		MapScalar(Div, y[i*v.C:(i+1)*v.C], y[i*v.C:(i+1)*v.C], float32(n))
	}
}

// fill runs the taps of r for count outputs: elements of output i start at x + i*xstep and y + i*ystep.
func (v *Planes) fill(c *convClass, r *reads, image []float32, x, xstep int, y []float32, ystep, count int) {
	whole := 0 // channels that assembly does
	switch {
	case v.tier == cpu.AVX512 && len(r.table) > 0:
		whole = v.C
	case v.tier == cpu.AVX2 && len(r.table) > 0:
		whole = v.C &^ 7
	}
	start := v.Bias
	if start == nil {
		start = v.zero
	}
	if whole > 0 {
		s := strip{n: count, x: unsafe.Add(unsafe.Pointer(&image[0]), 4*x), xstep: 4 * xstep, y: unsafe.Pointer(&y[0]), ystep: 4 * ystep,
			start: unsafe.Pointer(&start[0]), table: unsafe.Pointer(&r.table[0]), taps: len(r.table) / 2, size: 4 * whole, mask: 1<<((whole-1)%16+1) - 1}
		s.w = s.start
		if v.Kind == Depthwise {
			s.w = unsafe.Pointer(&v.W[c.at])
		}
		stripAsm(v.tier, v.Kind, &s)
	}
	if whole == v.C {
		return
	}
	for i := 0; i < count; i++ {
		v.planesRef(c, r, image, x+i*xstep, start, y[i*ystep:][:v.C], whole)
	}
}

// planesRef is the meaning of the micro-kernel, for one output and the channels from lo on.
func (v *Planes) planesRef(c *convClass, r *reads, image []float32, x int, start, y []float32, lo int) {
	for ch := lo; ch < len(y); ch++ {
		s := float32(math.Inf(-1))
		if v.Kind != MaxPool {
			s = start[ch]
		}
		for t := 0; t < len(r.table); t += 2 {
			e := image[x+ch+r.table[t]/4]
			switch {
			case v.Kind == Depthwise:
				s = FMA(e, v.W[c.at+r.table[t+1]/4+ch], s)
			case v.Kind == MeanPool:
				s += e
			case t == 0 || e > s:
				s = e
			}
		}
		y[ch] = s
	}
}
