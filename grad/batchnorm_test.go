package grad_test

import (
	"math"
	"testing"

	"muster/exec"
	"muster/fault"
	"muster/grad"
	"muster/graph"
	"muster/tensor"
)

// An imported batch norm follows the statistics of its batches as its state, and the gradient goes through them.
func TestTrainableBatchNorm(t *testing.T) {
	g := graph.New("bn")
	g.Model.Opsets[""] = 11 // before BatchNormalization had a training mode
	b := graph.NewBuilder(g)
	vec := func(name string, v ...float32) *graph.Value { return b.Init(name, tensor.OfFloat32(v, len(v))) }
	x := b.Input("x", tensor.Float32, graph.Sym("B"), graph.D(2))
	mean, variance := vec("mean", 0, 10), vec("var", 1, 4)
	scale := vec("scale", 1, 2)
	bn := func(x *graph.Value) *graph.Value {
		return b.OpA("BatchNormalization", []graph.Attr{graph.Float("momentum", 0.75), graph.Float("epsilon", 0)}, x, scale, vec("bias", 0, 1), mean, variance)
	}
	y := bn(x)
	z := bn(y) // shares the statistics
	states, err := grad.TrainableBatchNorm(g)
	if err != nil {
		t.Fatal(err)
	}
	loss := b.OpA("ReduceSum", []graph.Attr{graph.Int("keepdims", 0)}, b.Op("Mul", b.Op("Mul", z, z), z))
	grads, err := grad.Build(b, loss, []*graph.Value{scale})
	if err != nil {
		t.Fatal(err)
	}
	b.Output("y", y)
	b.Output("dscale", grads[0])
	for _, s := range states {
		g.Outputs = append(g.Outputs, s.Out)
	}
	ses, err := exec.New(g, exec.Config{State: states})
	if err != nil {
		t.Fatal(err)
	}
	defer ses.Close()
	in := tensor.OfFloat32([]float32{1, 4, 3, 8, 5, 0}, 3, 2) // mean 3 and 4, variance 8/3 and 32/3
	out, err := ses.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	want := tensor.New(tensor.Float32, 3, 2)
	for i, v := range in.Float32s() {
		k := i % 2
		want.Float32s()[i] = float32(float64([]float32{1, 2}[k])*(float64(v)-[]float64{3, 4}[k])/math.Sqrt([]float64{8. / 3, 32. / 3}[k])) + []float32{0, 1}[k]
	}
	if d := tensor.Diff(out[0], want, 1e-5, 1e-5); d != "" {
		t.Error(d)
	}
	for name, v := range map[string][]float32{"mean": {0.25 * 3, 0.75*10 + 0.25*4}, "var": {0.75 + 0.25*8/3, 3 + 0.25*32/3}} {
		if d := tensor.Diff(ses.StateOf(name), tensor.OfFloat32(v, 2), 1e-5, 1e-5); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if len(states) != 4 || ses.StateOf("mean_1") == nil {
		t.Errorf("%d states; the second batch norm has none of its own", len(states))
	}
	if tensor.Equal(out[1], tensor.New(tensor.Float32, 2)) {
		t.Error("the gradient is zero")
	}
	fed := graph.New("fed")
	fb := graph.NewBuilder(fed)
	in0 := fb.Input("x", tensor.Float32, graph.D(2), graph.D(2))
	v := fb.Input("v", tensor.Float32, graph.D(2))
	fb.Output("y", fb.Op("BatchNormalization", in0, v, v, v, v))
	if _, err := grad.TrainableBatchNorm(fed); fault.ClassOf(err) != fault.Unsupported {
		t.Errorf("statistics that are fed: %v", err)
	}
}
