package op_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"muster/fault"
	"muster/grad"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// inputs that a rule gives no gradient, by design (said in the operator's file).
var constantInputs = map[string][]int{"Dropout": {1}, "NegativeLogLikelihoodLoss": {2}, "CastLike": {1}, "Clip": {1, 2}, "SoftmaxCrossEntropyLoss": {2}}

// firstOnly are operators whose further outputs are statistics, which have no gradient (said in the operator's file).
var firstOnly = map[string]bool{"LayerNormalization": true, "BatchNormalization": true, "muster.BatchNormalizationTraining": true, "muster.BatchNormalizationTrainingNHWC": true, "muster.Attention": true}

// gradSample is a sample in float64 with its backward graph. Outputs of g: the forward ones, then the gradients.
type gradSample struct {
	g     *graph.Graph
	feeds []*tensor.Tensor
	wrt   []int // indices in feeds
	dys   []*tensor.Tensor
}

// differentiate builds the backward graph of s, with random dys; ok is false if there is nothing to differentiate.
func differentiate(t *testing.T, s sample, d tensor.DType, symbolic bool) (gradSample, bool, error) {
	t.Helper()
	g, n, _ := s.build(t, false)
	if o, err := op.Of(g, n); err != nil || o.NoGrad != "" {
		return gradSample{}, false, err
	}
	total := 0
	for i, a := range s.in {
		if a.t != nil && a.t.DType.IsFloat() {
			s.in = append([]arg{}, s.in...)
			s.in[i] = as(a, d)
		}
		if a.t != nil {
			total += a.t.Elems()
		}
	}
	if total > 3000 {
		return gradSample{}, false, nil
	}
	g, n, feeds := s.build(t, symbolic)
	r := gradSample{g: g, feeds: feeds}
	var wrt []*graph.Value
	for i, v := range n.Inputs {
		fixed := false
		for _, k := range constantInputs[n.Op] {
			fixed = fixed || k == i
		}
		for k, u := range g.Inputs {
			if u == v && v.DType.IsFloat() && !fixed {
				wrt, r.wrt = append(wrt, v), append(r.wrt, k)
			}
		}
	}
	if len(wrt) == 0 {
		return r, false, nil
	}
	out, err := eval(g, feeds)
	if err != nil {
		t.Fatal(s, err)
	}
	if err := op.Infer(g); err != nil {
		t.Fatal(s, err)
	}
	b := graph.NewBuilder(g)
	var ys, dys []*graph.Value
	for i, v := range g.Outputs {
		if v.DType.IsFloat() && !finite(out[i]) {
			return r, false, nil
		}
		if !v.DType.IsFloat() || firstOnly[n.FullOp()] && i > 0 {
			continue
		}
		x := b.Input(fmt.Sprint("dy", i), v.DType, v.Shape...)
		for k, d := range x.Shape {
			if !d.Known() && d.Name == "" {
				x.Shape[k].Name = fmt.Sprintf("dy%d_%d", i, k)
			}
		}
		a := as(ff(out[i].Shape...), v.DType)
		ys, dys = append(ys, v), append(dys, x)
		r.feeds, r.dys = append(r.feeds, a.t), append(r.dys, a.t)
	}
	if len(ys) == 0 {
		return r, false, nil
	}
	g.Outputs = ys
	grads, err := grad.VJP(b, ys, dys, wrt)
	if err != nil {
		return r, true, err
	}
	for i, v := range grads {
		b.Output(fmt.Sprint("grad", i), v)
	}
	return r, true, g.Verify()
}

func finite(t *tensor.Tensor) bool {
	for i, n := 0, t.Elems(); i < n; i++ {
		if x := t.Float(i); math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

// dot is sum of a b.
func dot(a, b *tensor.Tensor) float64 {
	s := 0.0
	for i, n := 0, a.Elems(); i < n; i++ {
		s += a.Float(i) * b.Float(i)
	}
	return s
}

// The gradient along random directions equals the central difference of the references in float64.
func TestGradients(t *testing.T) {
	checked := map[string]int{}
	for _, s := range samples() {
		r, ok, err := differentiate(t, s, tensor.Float64, false)
		if !ok {
			continue
		}
		if steps[s.op] {
			if fault.ClassOf(err) != fault.Mismatch {
				t.Errorf("%v: %v, want that nothing depends on it", s, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", s, err)
			continue
		}
		out, err := eval(r.g, r.feeds)
		if err != nil {
			t.Errorf("%v: %v", s, err)
			continue
		}
		checkDirection(t, s, r, out)
		checked[s.op]++
	}
	for _, o := range op.All() {
		if checked[o.Name] == 0 && (o.Grad != nil || o.NoGrad == "") && !steps[o.Name] && !elsewhere[o.Name] {
			t.Errorf("the gradient of %s was not checked", o.Name)
		}
	}
}

// steps are operators that are constant between jumps: their derivative is 0.
var steps = map[string]bool{"Ceil": true, "Floor": true, "Round": true, "Sign": true}

func checkDirection(t *testing.T, s sample, r gradSample, out []*tensor.Tensor) {
	t.Helper()
	h, tol := 1e-6, 1e-6
	if s.op == "Cast" { // linear, but coarse
		if s.attrs[0].I != int64(tensor.Float32) && s.attrs[0].I != int64(tensor.Float64) {
			return
		}
		h, tol = 0.1, 1e-4
	}
	along, n := 0.0, len(r.dys)
	plus, minus := append([]*tensor.Tensor{}, r.feeds...), append([]*tensor.Tensor{}, r.feeds...)
	for k, i := range r.wrt {
		x := r.feeds[i]
		d := as(ff(x.Shape...), tensor.Float64).t
		along += dot(out[n+k], d)
		plus[i], minus[i] = x.Clone(), x.Clone()
		for j := range d.Float64s() {
			plus[i].Float64s()[j] += h * d.Float64s()[j]
			minus[i].Float64s()[j] -= h * d.Float64s()[j]
		}
	}
	a, err1 := eval(r.g, plus)
	b, err2 := eval(r.g, minus)
	if err1 != nil || err2 != nil {
		t.Errorf("%v: %v %v", s, err1, err2)
		return
	}
	want, size := 0.0, 1.0
	for i, dy := range r.dys {
		want += (dot(a[i], dy) - dot(b[i], dy)) / (2 * h)
		size += math.Abs(dot(a[i], dy))
	}
	if e := math.Abs(along - want); !(e <= tol*(math.Abs(want)+size)) {
		t.Errorf("%v: gradient %.9g, difference quotient %.9g", s, along, want)
	}
}

// The backward graph gives the same on the float32 kernels as on the references.
func TestGradientKernels(t *testing.T) {
	for _, s := range samples() {
		r, ok, err := differentiate(t, s, tensor.Float32, false)
		if !ok || steps[s.op] {
			continue
		}
		if err != nil {
			t.Fatal(s, err)
		}
		want, err := eval(r.g, r.feeds)
		if err != nil {
			t.Fatal(s, err)
		}
		got, err := evalWith(r.g, r.feeds, kernelOrRef)
		if err != nil {
			t.Fatal(s, err)
		}
		for i := range want {
			size := 1.0 // sums that cancel err by the size of their terms
			for k, n := 0, want[i].Elems(); k < n; k++ {
				size = math.Max(size, math.Abs(want[i].Float(k)))
			}
			if d := tensor.Diff(got[i], want[i], 0, 2e-5*size); d != "" && finite(want[i]) {
				t.Errorf("%v: output %d: %s", s, i, d)
			}
		}
	}
}

// A backward graph that is built while dimensions are known by name computes the same.
// Where a named dimension meets a number, a rule may refuse: the name might be 1.
func TestSymbolicGradients(t *testing.T) {
	refused, equal := 0, 0
	defer func() {
		t.Logf("%d backward graphs equal, %d refused", equal, refused)
		if refused*40 > equal {
			t.Error("too many are refused")
		}
	}()
	for _, s := range samples() {
		if steps[s.op] || s.noSym {
			continue
		}
		seed := *rndState()
		a, ok, err := differentiate(t, s, tensor.Float32, false)
		if !ok {
			continue
		}
		if err != nil {
			t.Fatal(s, err)
		}
		want, err := eval(a.g, a.feeds)
		if err != nil {
			t.Fatal(s, err)
		}
		setRnd(seed)
		b, _, err := differentiate(t, s, tensor.Float32, true)
		if err != nil && fault.ClassOf(err) == fault.Unsupported && strings.Contains(err.Error(), "not known whether") {
			refused++
			continue
		}
		equal++
		if err != nil {
			t.Errorf("%v: %v", s, err)
			continue
		}
		got, err := eval(b.g, b.feeds)
		if err != nil {
			t.Errorf("%v: %v", s, err)
			continue
		}
		for i := range want {
			if d := tensor.Diff(got[i], want[i], 1e-5, 1e-5); d != "" {
				t.Errorf("%v: output %d: %s", s, i, d)
			}
		}
	}
}
