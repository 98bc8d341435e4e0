package monitor

import (
	"math"
	"sync"
	"testing"

	"muster/data"
	"muster/rng"
	"muster/tensor"
)

// fixture is a real model on real data: softmax regression on the UCI digits.
type fixture struct {
	images [][]float32 // 1,797 of 8x8 in [0, 1], shuffled
	labels []int
	weight [10][65]float64
	temp   float64
}

var digits = sync.OnceValue(func() *fixture {
	s, err := data.Open("builtin:digits", data.OpenConfig{})
	if err != nil {
		panic(err)
	}
	img, y := s.Image().Values.Float32s(), s.Labels()
	f := &fixture{temp: 1}
	for _, i := range rng.New(17).Stream().Perm(s.Len()) {
		x := make([]float32, 64)
		for k := range x {
			x[k] = img[i*64+k] / 16
		}
		f.images, f.labels = append(f.images, x), append(f.labels, int(y[i]))
	}
	f.train(700)
	return f
})

// train fits the first n rows by gradient descent.
func (f *fixture) train(n int) {
	for range 60 {
		var grad [10][65]float64
		for i := range n {
			p := f.predict(f.images[i])
			for c := range grad {
				d := float64(p[c])
				if c == f.labels[i] {
					d--
				}
				for k, v := range f.images[i] {
					grad[c][k] += d * float64(v)
				}
				grad[c][64] += d
			}
		}
		for c := range grad {
			for k := range grad[c] {
				f.weight[c][k] -= 2 * grad[c][k] / float64(n)
			}
		}
	}
}

func (f *fixture) predict(x []float32) []float32 {
	var z [10]float64
	top := math.Inf(-1)
	for c := range z {
		z[c] = f.weight[c][64]
		for k, v := range x {
			z[c] += f.weight[c][k] * float64(v)
		}
		z[c] /= f.temp
		top = math.Max(top, z[c])
	}
	sum := 0.0
	for c := range z {
		z[c] = math.Exp(z[c] - top)
		sum += z[c]
	}
	p := make([]float32, 10)
	for c := range p {
		p[c] = float32(z[c] / sum)
	}
	return p
}

// calibrate fits the temperature on rows by golden-section search of the loss.
func (f *fixture) calibrate(rows []int) {
	loss := func(temp float64) float64 {
		f.temp = temp
		nll := 0.0
		for _, i := range rows {
			nll -= math.Log(math.Max(1e-12, float64(f.predict(f.images[i])[f.labels[i]])))
		}
		return nll
	}
	lo, hi := 0.1, 3.0
	for range 12 {
		a, b := hi-(hi-lo)*0.618, lo+(hi-lo)*0.618
		if loss(a) < loss(b) {
			hi = b
		} else {
			lo = a
		}
	}
	f.temp = (lo + hi) / 2
}

// reference builds a reference from rows; the temperature is fitted on them.
func (f *fixture) reference(t testing.TB, rows []int, seed uint64) *Reference {
	t.Helper()
	f.calibrate(rows)
	var x, p [][]float32
	var y []int
	for _, i := range rows {
		x, p, y = append(x, f.images[i]), append(p, f.predict(f.images[i])), append(y, f.labels[i])
	}
	r, err := NewReference(ReferenceConfig{Input: InputConfig{Channels: 1, Height: 8, Width: 8}, Seed: seed}, x, p, y)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sketchOnly is reference without the simulation of the null, for estimates.
func (f *fixture) sketchOnly(t testing.TB, held []int) *Reference {
	t.Helper()
	f.calibrate(held)
	in := InputConfig{Channels: 1, Height: 8, Width: 8, High: 1}
	var rows []row
	for _, i := range held {
		r, err := measure(in, f.images[i], f.predict(f.images[i]), 10)
		if err != nil {
			t.Fatal(err)
		}
		r.right = r.class == f.labels[i]
		rows = append(rows, r)
	}
	r := &Reference{Config: ReferenceConfig{Input: in, Bins: 10}, Classes: 10, Rows: len(rows)}
	if err := r.sketch(rows); err != nil {
		t.Fatal(err)
	}
	return r
}

// traffic answers the images, so that windows can be drawn without running the model again.
func (f *fixture) traffic(images [][]float32) []Sample {
	out := make([]Sample, len(images))
	for i, x := range images {
		out[i] = Sample{Input: x, Probabilities: f.predict(x), Time: int64(i)}
	}
	return out
}

func (f *fixture) pick(rows []int) [][]float32 {
	var out [][]float32
	for _, i := range rows {
		out = append(out, f.images[i])
	}
	return out
}

// window draws n requests with replacement.
func window(t testing.TB, r *Reference, traffic []Sample, n int, s *rng.Stream) *Window {
	t.Helper()
	w := r.NewWindow()
	for range n {
		if err := w.Add(traffic[s.Intn(len(traffic))]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func span(from, to int) []int {
	var out []int
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

// corrupt returns the images under a corruption of package data.
func corrupt(t testing.TB, images [][]float32, name string, severity int, seed uint64) [][]float32 {
	t.Helper()
	flat := make([]float32, 0, 64*len(images))
	for _, x := range images {
		flat = append(flat, x...)
	}
	in := tensor.OfFloat32(flat, len(images), 1, 8, 8)
	y, err := data.Corrupt(in, name, severity, 0, 1, rng.New(seed))
	if err != nil {
		t.Fatal(err)
	}
	v := y.Float32s()
	out := make([][]float32, len(images))
	for i := range out {
		out[i] = v[i*64 : (i+1)*64]
	}
	return out
}

func accuracy(traffic []Sample, labels []int) float64 {
	right := 0.0
	for i, s := range traffic {
		if c, _, _ := answer(s.Probabilities, 10); c == labels[i] {
			right++
		}
	}
	return right / float64(len(traffic))
}
