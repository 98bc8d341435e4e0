package optim

import (
	"math"
	"testing"

	"muster/exec"
	"muster/graph"
	"muster/tensor"
)

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*(1+math.Abs(want))) {
		t.Errorf("%s: %.9g, want %.9g", what, got, want)
	}
}

func eval(t *testing.T, g *graph.Graph, feeds ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	out, err := exec.Eval(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCrossEntropy compares with -sum_k target_k log softmax_k, written out, for no,
// some and heavy smoothing.
func TestCrossEntropy(t *testing.T) {
	z, y := []float32{2, -1, 0.5, 0, 3, 3}, []int64{0, 2}
	for _, s := range []float64{0, 0.1, 0.9} {
		g := graph.New("loss")
		b := graph.NewBuilder(g)
		logits, labels := b.Input("logits", tensor.Float32, graph.Sym("B"), graph.D(3)), b.Input("labels", tensor.Int64, graph.Sym("B"))
		b.Output("loss", CrossEntropy(b, logits, labels, 3, s))
		got := eval(t, g, tensor.OfFloat32(z, 2, 3), tensor.OfInt64(y, 2))[0]
		want := 0.0
		for i, label := range y {
			sum := 0.0
			for k := range 3 {
				sum += math.Exp(float64(z[3*i+k]))
			}
			for k := range 3 {
				target := s / 3
				if int64(k) == label {
					target += 1 - s
				}
				want -= target * (float64(z[3*i+k]) - math.Log(sum)) / 2
			}
		}
		if len(got.Shape) != 0 {
			t.Errorf("the loss has shape %s", got.Shape)
		}
		near(t, "loss", got.Float(0), want, 1e-6)
	}
}

// TestClipScale: 3-4-12 has norm 13. Above the limit everything is scaled by limit/norm; below it nothing is. A step with
// the scale is one with scaled gradients.
func TestClipScale(t *testing.T) {
	for _, c := range []struct{ limit, scale float64 }{{6.5, 0.5}, {13, 1}, {100, 1}} {
		g := graph.New("clip")
		b := graph.NewBuilder(g)
		x, y := b.Input("x", tensor.Float32, graph.D(2)), b.Input("y", tensor.Float32, graph.D(1), graph.D(1))
		norm := Norm(b, []*graph.Value{x, y})
		scale := ClipScale(b, norm, c.limit)
		b.Output("scale", scale)
		b.Output("norm", norm)
		one := b.Init("step", tensor.OfInt64([]int64{1}))
		config := AdamWConfig{Beta1: 0.5, Beta2: 0.5, Eps: 1}
		for i, grad := range []*graph.Value{x, b.Op("Mul", x, scale)} {
			w := b.Init([]string{"w", "v"}[i], tensor.OfFloat32([]float32{1, 2}, 2))
			if config.Scale = nil; i == 0 {
				config.Scale = scale
			}
			AdamW(b, []*graph.Value{w}, []*graph.Value{grad}, b.Scalar(0.1), one, nil, config)
		}
		out := eval(t, g, tensor.OfFloat32([]float32{3, -4}, 2), tensor.OfFloat32([]float32{12}, 1, 1))
		near(t, "scale", out[0].Float(0), c.scale, 1e-6)
		near(t, "norm before clipping", out[1].Float(0), 13, 1e-6)
		for i := range 2 {
			near(t, "a step", out[2].Float(i), out[5].Float(i), 1e-7)
		}
		near(t, "first moment", out[3].Float(1), -2*c.scale, 1e-6)
	}
}

// TestAdamW follows two parameters over eight steps of a plain float64 loop of Loshchilov
// and Hutter, algorithm 2 (decay decoupled, bias corrected): one with decay, one without.
func TestAdamW(t *testing.T) {
	for _, c := range []AdamWConfig{
		{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1},
		{Beta1: 0.9, Beta2: 0.95, Eps: 1e-3},                 // no decay means none
		{Beta1: 0, Beta2: 0.9, Eps: 1e-8, WeightDecay: 0.01}, // no momentum means none
	} {
		g := graph.New("step")
		b := graph.NewBuilder(g)
		start := []float32{1, -2, 0.5}
		w, bias := b.Init("w", tensor.OfFloat32(start, 3)), b.Init("b", tensor.OfFloat32(start, 3))
		gw := b.Input("g", tensor.Float32, graph.D(3))
		lr, step := b.Input("lr", tensor.Float32), b.Input("step", tensor.Int64)
		states := AdamW(b, []*graph.Value{w, bias}, []*graph.Value{gw, gw}, lr, step, map[*graph.Value]bool{w: true}, c)
		if len(states) != 6 {
			t.Fatalf("%d states, want a parameter and two moments for each of two", len(states))
		}
		var m, v [3]float64
		p := [2][3]float64{{1, -2, 0.5}, {1, -2, 0.5}}
		for n := 1; n <= 8; n++ {
			grad := []float32{0.3 * float32(n), -1, float32(n%3) - 1}
			rate := 0.1 / float64(n)
			out := eval(t, g, tensor.OfFloat32(grad, 3), tensor.OfFloat32([]float32{float32(rate)}), tensor.OfInt64([]int64{int64(n)}))
			for i, s := range states {
				s.In.Const = out[i]
			}
			for k := range 3 {
				d := float64(grad[k])
				m[k] = c.Beta1*m[k] + (1-c.Beta1)*d
				v[k] = c.Beta2*v[k] + (1-c.Beta2)*d*d
				move := m[k] / (1 - math.Pow(c.Beta1, float64(n))) / (math.Sqrt(v[k]/(1-math.Pow(c.Beta2, float64(n)))) + c.Eps)
				p[0][k] -= rate * (move + c.WeightDecay*p[0][k])
				p[1][k] -= rate * move
				near(t, "with decay", states[0].In.Const.Float(k), p[0][k], 2e-5)
				near(t, "without", states[3].In.Const.Float(k), p[1][k], 2e-5)
				near(t, "first moment", states[1].In.Const.Float(k), m[k], 2e-5)
				near(t, "second moment", states[2].In.Const.Float(k), v[k], 2e-5)
			}
		}
	}
}

// TestSchedule: the warm-up is a line to the peak, the middle of the decay is the mean of
// peak and final (cos of a right angle), the end is final, and after it nothing changes.
func TestSchedule(t *testing.T) {
	s := Schedule{Peak: 1, Final: 0.2, Warmup: 10, Steps: 110}
	for step, want := range map[int]float64{1: 0.1, 5: 0.5, 10: 1, 60: 0.6, 110: 0.2, 500: 0.2, 35: 0.2 + 0.4*(1+math.Sqrt2/2)} {
		near(t, "learning rate", s.At(step), want, 1e-12)
	}
	all := Schedule{Peak: 2, Warmup: 5, Steps: 5}
	near(t, "a schedule that is all warm-up", all.At(6), 2, 0)
}
