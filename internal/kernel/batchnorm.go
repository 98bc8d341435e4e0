package kernel

import (
	"math"

	"muster/internal/cpu"
	"muster/internal/team"
)

// BatchNorm normalises the columns of X [P, C] to mean 0 and variance 1 over the rows (Ioffe and Szegedy, arXiv
// 1502.03167). Sums over rows are made by blocks of 64 rows, which are added up in float64 in their order.
//
// With Groups above 0 the channels of a group share mean and variance: the rows are then those of one image, and
// what is computed is a group normalisation (Wu and He, arXiv 1803.08494). Backward has no such form.
type BatchNorm struct {
	P, C    int
	Groups  int
	Epsilon float32

	X, Y, Scale, Bias []float32
	Mean, Inv         []float32 // [C]: what was subtracted, and 1 / sqrt(variance + epsilon)
	Var               []float32 // [C] or nil: the biased variance
	DY, DX            []float32
	DScale, DBias     []float32

	parts []float32 // [blocks, 2, C]
	line  []float32 // [4, C]: coefficients
	tier  cpu.Tier
	phase int
	run   func(int)
}

// ScratchElems is the float32 elements that Forward and Backward need.
func (v *BatchNorm) ScratchElems() int { return (2*v.blocks() + 4) * v.C }

func (v *BatchNorm) blocks() int { return ceilDiv(v.P, columnRows) }

// Phases of the passes over the rows.
const (
	bnSum = iota
	bnSquare
	bnScale
	bnDots
	bnDX
)

func (v *BatchNorm) start(scratch []float32) {
	if v.run == nil {
		v.run = v.group
	}
	v.tier = cpu.Active()
	v.line, v.parts = scratch[:4*v.C], scratch[4*v.C:]
}

// taskBlocks is the number of blocks of one task.
func (v *BatchNorm) taskBlocks() int { return max(1, (1<<15)/(columnRows*max(v.C, 1))) }

func (v *BatchNorm) pass(phase int) {
	v.phase = phase
	team.Run(ceilDiv(v.blocks(), v.taskBlocks()), v.run)
}

func (v *BatchNorm) group(t int) {
	n := v.taskBlocks()
	for b := t * n; b < min(v.blocks(), (t+1)*n); b++ {
		v.block(b)
	}
}

// block does one block of rows of the phase under way.
func (v *BatchNorm) block(b int) {
	C := v.C
	r0 := b * columnRows
	rows := min(columnRows, v.P-r0)
	lo, hi := r0*C, (r0+rows)*C
	p := v.parts[2*b*C:]
	switch v.phase {
	case bnSum:
		columnSums(v.tier, p[:C], v.X[lo:hi], nil, rows, C)
	case bnSquare:
		rowsAffine(v.tier, v.Y[lo:hi], v.X[lo:hi], v.line[:C], v.line[C:2*C], rows, C)
		columnSums(v.tier, p[:C], v.Y[lo:hi], v.Y[lo:hi], rows, C)
	case bnScale:
		rowsAffine(v.tier, v.Y[lo:hi], v.Y[lo:hi], v.line[:C], v.Bias, rows, C)
	case bnDots:
		rowsAffine(v.tier, v.DX[lo:hi], v.X[lo:hi], v.line[:C], v.line[C:2*C], rows, C)
		columnSums(v.tier, p[:C], v.DY[lo:hi], nil, rows, C)
		columnSums(v.tier, p[C:2*C], v.DX[lo:hi], v.DY[lo:hi], rows, C)
	case bnDX: // DX holds X - mean
		rowsAffine2(v.tier, v.DX[lo:hi], v.DX[lo:hi], v.line[:C], v.DY[lo:hi], v.line[2*C:3*C], v.line[C:2*C], rows, C)
	}
}

// total adds the parts of all blocks to one sum per column.
func (v *BatchNorm) total(dst []float32, which int, scale float64) {
	n := v.blocks()
	for c := range dst {
		sum := 0.0
		for b := 0; b < n; b++ {
			sum += float64(v.parts[(2*b+which)*v.C+c])
		}
		dst[c] = float32(sum * scale)
	}
}

// share gives the channels of a group their mean.
func (v *BatchNorm) share(s []float32) {
	if v.Groups == 0 || v.Groups == v.C {
		return
	}
	n := v.C / v.Groups
	for g := 0; g < v.C; g += n {
		sum := 0.0
		for _, x := range s[g : g+n] {
			sum += float64(x)
		}
		for c := range s[g : g+n] {
			s[g+c] = float32(sum / float64(n))
		}
	}
}

// shift prepares the subtraction of the mean.
func (v *BatchNorm) shift() {
	for c := 0; c < v.C; c++ {
		v.line[c], v.line[v.C+c] = 1, -v.Mean[c]
	}
}

// Forward computes Y, Mean, Inv and Var.
func (v *BatchNorm) Forward(scratch []float32) {
	v.start(scratch)
	v.pass(bnSum)
	v.total(v.Mean, 0, 1/float64(v.P))
	v.share(v.Mean)
	v.shift()
	v.pass(bnSquare)
	v.total(v.Inv, 0, 1/float64(v.P))
	v.share(v.Inv)
	for c, s := range v.Inv {
		if v.Var != nil {
			v.Var[c] = s
		}
		v.Inv[c] = float32(1 / math.Sqrt(float64(s)+float64(v.Epsilon)))
		v.line[c] = v.Inv[c] * v.Scale[c]
	}
	v.pass(bnScale)
}

// Backward computes DX, DScale and DBias from X, DY, Scale, Mean and Inv: with n = P and h = (X - Mean) Inv,
// DX = Scale Inv (DY - DBias/n - h DScale/n).
func (v *BatchNorm) Backward(scratch []float32) {
	v.start(scratch)
	v.shift()
	v.pass(bnDots)
	v.total(v.DBias, 0, 1)
	v.total(v.DScale, 1, 1)
	n, C := float64(v.P), v.C
	for c := 0; c < C; c++ {
		inv := float64(v.Inv[c])
		a := float64(v.Scale[c]) * inv
		v.DScale[c] = float32(float64(v.DScale[c]) * inv)
		v.line[c] = float32(-a * inv * float64(v.DScale[c]) / n)
		v.line[C+c] = float32(-a * float64(v.DBias[c]) / n)
		v.line[2*C+c] = float32(a)
	}
	v.pass(bnDX)
}
