package kernel

import (
	"muster/internal/cpu"
	"muster/internal/team"
)

// ConvGrad is the gradient of a convolution by its weights, from channels-last X and dY:
//
//	dW[m, c, tap] = sum over positions p of X[where tap of p reads, c] dY[p, m]
//
// Every sum is one chain of fused multiply-adds over the positions in ascending order.
type ConvGrad struct {
	Window // of the forward convolution; Back is not supported
	Groups int
	X, DY  []float32
	DW     []float32 // [M, C/Groups, taps]

	class   convClass
	direct  bool      // rows of X are the gathered rows
	sums    []float32 // [group][tap, c][M/Groups]
	rows    int       // packed rows of a task
	jStep   int
	jBlocks int
	kBlocks int
	tier    cpu.Tier
	run     func(int)
	fin     func(int)
}

// pBlock is the number of positions whose rows are gathered at once.
const pBlock = 240

// Plan prepares the geometry; Window and Groups must be set.
func (v *ConvGrad) Plan() {
	v.class = v.all()[0]
	cg, nj := v.C/v.Groups, panels(v.M/v.Groups)
	v.class.segments(cg, v.Groups == 1)
	v.direct = v.taps() == 1
	for _, a := range v.Axes {
		v.direct = v.direct && a.Stride == 1 && a.Pad == 0 && a.In == a.Out
	}
	v.kBlocks, v.jBlocks = ceilDiv(v.class.k, rowBlock), 1
	if v.kBlocks*v.Groups < 8 {
		v.kBlocks = min(ceilDiv(v.class.k, 56), 8)
	}
	if v.kBlocks*v.Groups < 8 {
		v.jBlocks = min(nj, 4)
	}
	v.rows, v.jStep = ceilDiv(v.class.k, v.kBlocks), ceilDiv(nj, v.jBlocks)
	v.kBlocks, v.jBlocks = ceilDiv(v.class.k, v.rows), ceilDiv(nj, v.jStep)
	v.run, v.fin = v.task, v.finish
}

// ScratchElems is the float32 elements that Run needs.
func (v *ConvGrad) ScratchElems() int { return v.Groups * v.class.k * (v.M / v.Groups) }

// Run computes DW.
func (v *ConvGrad) Run(scratch []float32) {
	v.tier, v.sums = cpu.Active(), scratch
	team.Run(v.kBlocks*v.jBlocks*v.Groups, v.run)
	team.Run(ceilDiv(v.M, 16), v.fin)
}

// task computes some packed rows for some panels of output channels.
func (v *ConvGrad) task(t int) {
	ib, jb, g := t%v.kBlocks, t/v.kBlocks%v.jBlocks, t/v.kBlocks/v.jBlocks
	cg, mg := v.C/v.Groups, v.M/v.Groups
	k0 := ib * v.rows
	rows := min(v.rows, v.class.k-k0)
	j0, j1 := jb*v.jStep, min((jb+1)*v.jStep, panels(mg))
	b := gathers.get()
	defer gathers.put(b)
	pitch := rows
	if pitch%64 == 0 {
		pitch += 16
	}
	sums := v.sums[(g*v.class.k+k0)*mg:]
	if v.class.rows == 0 {
		clear(sums[:rows*mg])
	}
	for p := 0; p < v.class.rows; p += pBlock {
		n := min(pBlock, v.class.rows-p)
		a, acol := b.rows[:], pitch
		if v.direct {
			a, acol = v.X[p*v.C+g*cg+k0:], v.C
		} else {
			v.gather(&v.class, g, p, p+n, k0, rows, a, pitch)
		}
		mode := fromC
		if p == 0 {
			mode = fromZero
		}
		for j := j0; j < j1; j++ {
			w := min(panel, mg-j*panel)
			packPart(v.tier, b.out[:], v.DY[p*v.M+g*mg:], v.M, false, mg, j, 0, n)
			gemmRows(v.tier, rows, n, a, 1, acol, operand{data: b.out[:], row: panel, width: w, padded: true}, sums[j*panel:], mg, mode, nil)
		}
	}
}

// gather is that of a convolution.
func (v *ConvGrad) gather(c *convClass, g, i0, i1, k0, kc int, dst []float32, pitch int) {
	x := Conv{Window: v.Window, Groups: v.Groups, X: v.X}
	x.gather(c, g, i0, i1, k0, kc, dst, pitch)
}

// finish moves 16 output channels to their places.
func (v *ConvGrad) finish(t int) {
	cg, mg, taps := v.C/v.Groups, v.M/v.Groups, v.taps()
	for m0 := t * 16; m0 < min(v.M, t*16+16); {
		g := m0 / mg
		n := min(16, mg-m0%mg, t*16+16-m0)
		var tile [16 * 16]float32
		for c0 := 0; c0 < cg; c0 += 16 {
			w := min(16, cg-c0)
			for r, k := range v.class.taps {
				transpose(v.tier, tile[:], 16, v.sums[(g*v.class.k+r*cg+c0)*mg+m0%mg:], mg, w, n)
				for m := 0; m < n; m++ {
					dst := v.DW[((m0+m)*cg+c0)*taps+k:]
					for c, s := range tile[m*16 : m*16+w] {
						dst[c*taps] = s
					}
				}
			}
		}
		m0 += n
	}
}
