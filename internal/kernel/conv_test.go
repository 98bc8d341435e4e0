package kernel

import (
	"math"
	"math/rand"
	"testing"

	"muster/internal/cpu"
	"muster/internal/team"
)

// randomWindow draws a geometry; in the adjoint Out is the larger side.
func randomWindow(r *rand.Rand, back bool) Window {
	w := Window{N: 1 + r.Intn(2), Back: back}
	for i := range w.Axes {
		a := &w.Axes[i]
		a.Taps, a.Stride, a.Dilation = 1+r.Intn(3), 1+r.Intn(3), 1+r.Intn(2)
		if i == 0 && r.Intn(2) == 0 {
			a.Taps = 1
		}
		reach := (a.Taps-1)*a.Dilation + 1
		large := reach + r.Intn(6)
		a.Pad = r.Intn(reach)
		small := (large+2*a.Pad-reach)/a.Stride + 1
		a.In, a.Out = large, small
		if back {
			a.In, a.Out = small, large
		}
	}
	return w
}

// naive calls f for every pair of elements that meet: input row x, output row y, tap k of image n.
func (w *Window) naive(f func(x, y, k int)) {
	a := w.Axes
	for n := 0; n < w.N; n++ {
		for small := 0; small < w.small(0)*w.small(1)*w.small(2); small++ {
			s := [3]int{small / w.small(2) / w.small(1), small / w.small(2) % w.small(1), small % w.small(2)}
			for k := 0; k < w.taps(); k++ {
				t := [3]int{k / a[2].Taps / a[1].Taps, k / a[2].Taps % a[1].Taps, k % a[2].Taps}
				large, inside := 0, true
				for i := range a {
					p, size := s[i]*a[i].Stride+t[i]*a[i].Dilation-a[i].Pad, w.large(i)
					inside = inside && p >= 0 && p < size
					large = large*size + p
				}
				if !inside {
					continue
				}
				x, y := n*w.large(0)*w.large(1)*w.large(2)+large, n*w.small(0)*w.small(1)*w.small(2)+small
				if w.Back {
					x, y = y, x
				}
				f(x, y, k)
			}
		}
	}
}

// small and large are the sizes on the two sides of a convolution: Y's and X's, the other way round in the adjoint.
func (w *Window) small(i int) int {
	if w.Back {
		return w.Axes[i].In
	}
	return w.Axes[i].Out
}

func (w *Window) large(i int) int {
	if w.Back {
		return w.Axes[i].Out
	}
	return w.Axes[i].In
}

func (w *Window) elems() (x, y int) {
	x, y = w.N*w.C, w.N*w.M
	for _, a := range w.Axes {
		x, y = x*a.In, y*a.Out
	}
	return x, y
}

// onTiers runs f on every tier with one and three threads and checks that y has the same bits.
func onTiers(t *testing.T, y []float32, f func()) {
	t.Helper()
	var first []float32
	for tier := cpu.Ref; tier <= cpu.Best(); tier++ {
		for _, threads := range []int{1, 3} {
			restore, back := cpu.Force(tier), team.Resize(threads)
			for i := range y {
				y[i] = float32(math.NaN())
			}
			f()
			back()
			restore()
			if first == nil {
				first = append(first, y...)
			}
			for i, v := range y {
				if math.Float32bits(v) != math.Float32bits(first[i]) {
					t.Fatalf("%v, %d threads: [%d] is %g, not %g", tier, threads, i, v, first[i])
				}
			}
		}
	}
}

func TestConv(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	for i := 0; i < 120; i++ {
		v := &Conv{Window: randomWindow(r, i%2 == 1), Groups: 1 + r.Intn(3)}
		v.C, v.M = v.Groups*(1+r.Intn(20)), v.Groups*(1+r.Intn(40))
		if i%10 == 0 {
			v.Groups, v.C, v.M = 1, 70, 33
		}
		if i%6 == 1 || i%6 == 4 { // long lines are not gathered
			a := &v.Axes[2]
			v.Groups, v.C, v.M = 1, 1+r.Intn(20), 1+r.Intn(70)
			*a = ConvAxis{In: 24 + r.Intn(20), Taps: 1 + r.Intn(4), Stride: 1, Dilation: 1}
			a.Pad = r.Intn(a.Taps)
			a.Out = a.In + 2*a.Pad - a.Taps + 1
			if v.Back {
				a.In, a.Out = a.Out, a.In
			}
		}
		nx, ny := v.elems()
		v.X, v.Y = randoms(r, nx), make([]float32, ny)
		cg, mg := v.C/v.Groups, v.M/v.Groups
		w := randoms(r, v.C*mg*v.taps())
		want := make([]float64, ny)
		if i%3 > 0 {
			v.Bias = randoms(r, v.M)
			for k := range want {
				want[k] = float64(v.Bias[k%v.M])
			}
		}
		v.naive(func(x, y, k int) {
			for m := 0; m < v.M; m++ {
				g := m / mg
				for c := 0; c < cg; c++ {
					at := (m*cg+c)*v.taps() + k
					if v.Back {
						at = ((g*cg+c)*mg+m%mg)*v.taps() + k
					}
					want[y*v.M+m] += float64(v.X[x*v.C+g*cg+c]) * float64(w[at])
				}
			}
		})
		if i%4 == 0 {
			v.Post = Post{Act: ActRelu, Residual: randoms(r, ny)}
			for k := range want {
				want[k] = math.Max(0, want[k]+float64(v.Post.Residual[k]))
			}
		}
		v.Plan()
		v.W = make([]float32, v.PackedSize())
		onTiers(t, v.Y, func() { v.Pack(v.W, w); v.Run() })
		for k := range want {
			if e := math.Abs(float64(v.Y[k]) - want[k]); !(e < 1e-3) {
				t.Fatalf("%d: %+v: [%d] is %g, not %g", i, v.Window, k, v.Y[k], want[k])
			}
		}
	}
}

func TestPlanes(t *testing.T) {
	r := rand.New(rand.NewSource(9))
	for i := 0; i < 150; i++ {
		v := &Planes{Kind: PlaneKind(i % 3)}
		v.Window = randomWindow(r, v.Kind == Depthwise && i%2 == 1)
		v.C = 1 + r.Intn(50)
		v.M = v.C
		nx, ny := v.elems()
		v.X, v.Y = randoms(r, nx), make([]float32, ny)
		w := randoms(r, v.C*v.taps())
		want, count := make([]float64, ny), make([]float64, ny)
		if v.Kind == Depthwise && i%4 > 0 {
			v.Bias = randoms(r, v.C)
			for k := range want {
				want[k] = float64(v.Bias[k%v.C])
			}
		}
		v.naive(func(x, y, k int) {
			for c := 0; c < v.C; c++ {
				e := float64(v.X[x*v.C+c])
				switch v.Kind {
				case Depthwise:
					want[y*v.C+c] += e * float64(w[c*v.taps()+k])
				case MeanPool:
					want[y*v.C+c] += e
				default:
					if count[y*v.C+c] == 0 || e > want[y*v.C+c] {
						want[y*v.C+c] = e
					}
				}
				count[y*v.C+c]++
			}
		})
		empty := false
		for k := range want {
			empty = empty || count[k] == 0
			if v.Kind == MeanPool {
				want[k] /= count[k]
			}
		}
		if empty && v.Kind != Depthwise {
			continue // operators refuse windows of padding only
		}
		v.Plan()
		v.W = make([]float32, v.PackedSize())
		v.Pack(v.W, w)
		onTiers(t, v.Y, v.Run)
		for k := range want {
			if e := math.Abs(float64(v.Y[k]) - want[k]); !(e < 1e-4) {
				t.Fatalf("%d: kind %d %+v: [%d] is %g, not %g", i, v.Kind, v.Window, k, v.Y[k], want[k])
			}
		}
	}
}

func TestConvGrad(t *testing.T) {
	r := rand.New(rand.NewSource(11))
	for i := 0; i < 60; i++ {
		v := &ConvGrad{Window: randomWindow(r, false), Groups: 1 + r.Intn(3)}
		v.C, v.M = v.Groups*(1+r.Intn(20)), v.Groups*(1+r.Intn(40))
		if i%10 == 0 {
			v.N, v.Groups, v.C, v.M = 5, 1, 70, 33
		}
		if i%10 == 5 {
			for k := range v.Axes {
				v.Axes[k] = ConvAxis{In: 9, Out: 9, Taps: 1, Stride: 1, Dilation: 1}
			}
		}
		nx, ny := v.elems()
		cg, mg := v.C/v.Groups, v.M/v.Groups
		v.X, v.DY, v.DW = randoms(r, nx), randoms(r, ny), make([]float32, v.M*cg*v.taps())
		want := make([]float64, len(v.DW))
		v.naive(func(x, y, k int) {
			for m := 0; m < v.M; m++ {
				for c := 0; c < cg; c++ {
					want[(m*cg+c)*v.taps()+k] += float64(v.X[x*v.C+m/mg*cg+c]) * float64(v.DY[y*v.M+m])
				}
			}
		})
		v.Plan()
		scratch := make([]float32, v.ScratchElems())
		onTiers(t, v.DW, func() { v.Run(scratch) })
		for k := range want {
			if e := math.Abs(float64(v.DW[k]) - want[k]); !(e < 1e-3) {
				t.Fatalf("%d: %+v: [%d] is %g, not %g", i, v.Window, k, v.DW[k], want[k])
			}
		}
	}
}

// The statistics stay right where the mean is far from 0; the parts meet the definitions.
func TestBatchNorm(t *testing.T) {
	r := rand.New(rand.NewSource(12))
	for _, s := range [][2]int{{1, 1}, {7, 3}, {64, 16}, {200, 40}, {130, 19}, {1000, 64}, {65, 8}} {
		P, C := s[0], s[1]
		v := &BatchNorm{P: P, C: C, Epsilon: 1e-3, X: randoms(r, P*C), Scale: randoms(r, C), Bias: randoms(r, C), DY: randoms(r, P*C),
			Y: make([]float32, P*C), DX: make([]float32, P*C), Mean: make([]float32, C), Inv: make([]float32, C), Var: make([]float32, C), DScale: make([]float32, C), DBias: make([]float32, C)}
		for i := range v.X {
			v.X[i] += 50
		}
		scratch := make([]float32, v.ScratchElems())
		onTiers(t, v.Y, func() { v.Forward(scratch) })
		onTiers(t, v.DX, func() { v.Backward(scratch) })
		for c := 0; c < C; c++ {
			mean, variance, db, ds := 0.0, 0.0, 0.0, 0.0
			for p := 0; p < P; p++ {
				mean += float64(v.X[p*C+c]) / float64(P)
			}
			for p := 0; p < P; p++ {
				variance += math.Pow(float64(v.X[p*C+c])-mean, 2) / float64(P)
			}
			inv := 1 / math.Sqrt(variance+1e-3)
			for p := 0; p < P; p++ {
				db += float64(v.DY[p*C+c])
				ds += float64(v.DY[p*C+c]) * (float64(v.X[p*C+c]) - mean) * inv
			}
			close := func(what string, got float32, want, tol float64) {
				if e := math.Abs(float64(got) - want); !(e <= tol*(1+math.Abs(want))) {
					t.Fatalf("%v column %d: %s is %g, not %g", s, c, what, got, want)
				}
			}
			if P > 1 {
				close("inv", v.Inv[c], inv, 1e-3)
			}
			close("var", v.Var[c], variance, 1e-4)
			close("dScale", v.DScale[c], ds, 1e-3)
			close("dBias", v.DBias[c], db, 1e-4)
			for p := 0; p < P && P > 1; p++ {
				h := (float64(v.X[p*C+c]) - mean) * inv
				close("y", v.Y[p*C+c], h*float64(v.Scale[c])+float64(v.Bias[c]), 2e-3)
				close("dx", v.DX[p*C+c], float64(v.Scale[c])*inv*(float64(v.DY[p*C+c])-db/float64(P)-h*ds/float64(P)), 2e-3)
			}
		}
	}
}

func TestWinograd(t *testing.T) {
	r := rand.New(rand.NewSource(13))
	for i := 0; i < 40; i++ {
		w := Window{N: 1 + r.Intn(2), C: 1 + r.Intn(40), M: 1 + r.Intn(70)}
		w.Axes[0] = ConvAxis{In: 1, Out: 1, Taps: 1, Stride: 1, Dilation: 1}
		for k := 1; k < 3; k++ {
			a := &w.Axes[k]
			*a = ConvAxis{In: 3 + r.Intn(9), Taps: 3, Stride: 1, Dilation: 1, Pad: r.Intn(2)}
			a.Out = a.In + 2*a.Pad - 2
		}
		if i == 0 {
			w.C = 300
		}
		nx, ny := w.elems()
		v := &Winograd{N: w.N, C: w.C, M: w.M, H: w.Axes[1].In, W: w.Axes[2].In, OutH: w.Axes[1].Out, OutW: w.Axes[2].Out, PadH: w.Axes[1].Pad, PadW: w.Axes[2].Pad,
			X: randoms(r, nx), Y: make([]float32, ny)}
		weights := randoms(r, w.C*w.M*9)
		want := make([]float64, ny)
		if i%3 > 0 {
			v.Bias = randoms(r, v.M)
			for k := range want {
				want[k] = float64(v.Bias[k%v.M])
			}
		}
		w.naive(func(x, y, k int) {
			for m := 0; m < w.M; m++ {
				for c := 0; c < w.C; c++ {
					want[y*w.M+m] += float64(v.X[x*w.C+c]) * float64(weights[(m*w.C+c)*9+k])
				}
			}
		})
		if i%4 == 0 {
			v.Post = Post{Act: ActRelu, Residual: randoms(r, ny)}
			for k := range want {
				want[k] = math.Max(0, want[k]+float64(v.Post.Residual[k]))
			}
		}
		v.Plan()
		v.U = make([]float32, v.PackedSize())
		if v.Back = i%2 == 1; v.Back {
			turned := make([]float32, len(weights))
			for k, x := range weights {
				m, c, tap := k/9/w.C, k/9%w.C, k%9
				turned[(c*w.M+m)*9+8-tap] = x
			}
			weights = turned
		}
		onTiers(t, v.Y, func() { v.Pack(v.U, weights); v.Run() })
		for k := range want {
			if e := math.Abs(float64(v.Y[k]) - want[k]); !(e < 1e-3) {
				t.Fatalf("%d: %+v: [%d] is %g, not %g", i, w, k, v.Y[k], want[k])
			}
		}
	}
}
