package op

import (
	"muster/graph"
	"muster/tensor"
)

// The optimizers of ai.onnx.preview.training: R (learning rate), T (count of updates before this one), then n tensors X, n
// gradients G and n of every moment; the results are the new X and moments in the same order. Without a gradient of their own.
const trainingDomain = "ai.onnx.preview.training"

// update makes the new tensor and moments of one X: in is X, G and the moments.
type update func(b *graph.Builder, n *graph.Node, R, T *graph.Value, in []*graph.Value) []*graph.Value

func optimizer(name, attrs string, moments int, f update) Op {
	return Op{
		Domain: trainingDomain, Name: name, Since: 1, MinIn: 2 + 2 + moments, MaxIn: -1, MinOut: 1 + moments, MaxOut: -1, Attrs: attrs,
		NoGrad: "steps of an optimizer are not differentiated",
		Infer: func(c *InferCall) error {
			k := 2 + moments
			n := (len(c.In) - 2) / k
			if (len(c.In)-2)%k != 0 || len(c.Out) != n*(1+moments) {
				return c.Errorf("%d inputs and %d outputs", len(c.In), len(c.Out))
			}
			if m := c.Node.Str("mode", "standard"); m != "standard" && m != "nesterov" {
				return c.Errorf("mode %q", m)
			}
			for i, v := range c.In[2:] {
				if v == nil {
					return c.Errorf("input %d is absent", i+2)
				}
				if err := firstErr(c.wantFloat(i+2), c.alike(i+2, 2+i%n)); err != nil {
					return err
				}
				if v.DType != c.In[0].DType {
					return c.Errorf("input %d is %s, the learning rate %s", i+2, v.DType, c.In[0].DType)
				}
			}
			for i := range c.Out {
				c.Set(i, c.In[2+i%n].DType, c.In[2+i%n].Shape)
			}
			return firstErr(c.wantFloat(0), c.wantType(1, tensor.Int64))
		},
		Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			k := (len(in) - 2) / (2 + moments)
			out := make([]*graph.Value, k*(1+moments))
			for i := range k {
				var one []*graph.Value
				for j := range 2 + moments {
					one = append(one, in[2+j*k+i])
				}
				// norm_coefficient is the weight of an L2 penalty.
				one[1] = b.Op("Add", one[1], b.Op("Mul", one[0], fill(b, one[0], float(n, "norm_coefficient", 0))))
				for j, v := range f(b, n, in[0], in[1], one) {
					out[j*k+i] = v
				}
			}
			return out
		},
	}
}

// blend is a x + c y.
func blend(b *graph.Builder, a float64, x *graph.Value, c float64, y *graph.Value, like *graph.Value) *graph.Value {
	return b.Op("Add", b.Op("Mul", fill(b, like, a), x), b.Op("Mul", fill(b, like, c), y))
}

var (
	opAdagrad = optimizer("Adagrad", "decay_factor epsilon norm_coefficient", 1, func(b *graph.Builder, n *graph.Node, R, T *graph.Value, in []*graph.Value) []*graph.Value {
		X, G, H := in[0], in[1], in[2]
		r := b.Op("Div", R, b.Op("Add", fill(b, X, 1), b.Op("Mul", cast(b, T, X.DType), fill(b, X, float(n, "decay_factor", 0)))))
		H = b.Op("Add", H, square(b, G))
		d := b.Op("Div", b.Op("Mul", r, G), b.Op("Add", b.Op("Sqrt", H), fill(b, X, float(n, "epsilon", 0))))
		return []*graph.Value{b.Op("Sub", X, d), H}
	})

	// Adam corrects the bias of both moments by the learning rate, from the second update on.
	opAdam = optimizer("Adam", "alpha beta epsilon norm_coefficient norm_coefficient_post", 2, func(b *graph.Builder, n *graph.Node, R, T *graph.Value, in []*graph.Value) []*graph.Value {
		X, G := in[0], in[1]
		alpha, beta := float(n, "alpha", 0.9), float(n, "beta", 0.999)
		V := blend(b, alpha, in[2], 1-alpha, G, X)
		H := blend(b, beta, in[3], 1-beta, square(b, G), X)
		t, unit := cast(b, T, X.DType), fill(b, X, 1)
		later := b.Op("Greater", T, b.Init("zero", tensor.OfInt64([]int64{0})))
		bias := func(base float64) *graph.Value { return b.Op("Sub", unit, b.Op("Pow", fill(b, X, base), t)) }
		rate := b.Op("Where", later, b.Op("Div", b.Op("Mul", R, b.Op("Sqrt", bias(beta))), bias(alpha)), R)
		d := b.Op("Div", b.Op("Mul", rate, V), b.Op("Add", b.Op("Sqrt", H), fill(b, X, float(n, "epsilon", 0))))
		keep := fill(b, X, 1-float(n, "norm_coefficient_post", 0))
		return []*graph.Value{b.Op("Mul", keep, b.Op("Sub", X, d)), V, H}
	})

	opMomentum = optimizer("Momentum", "alpha beta mode norm_coefficient", 1, func(b *graph.Builder, n *graph.Node, R, T *graph.Value, in []*graph.Value) []*graph.Value {
		X, G := in[0], in[1]
		alpha := fill(b, X, float(n, "alpha", 0))
		later := b.Op("Greater", T, b.Init("zero", tensor.OfInt64([]int64{0})))
		beta := b.Op("Where", later, fill(b, X, float(n, "beta", 0)), fill(b, X, 1))
		V := b.Op("Add", b.Op("Mul", alpha, in[2]), b.Op("Mul", beta, G))
		step := V
		if n.Str("mode", "standard") == "nesterov" {
			step = b.Op("Add", G, b.Op("Mul", alpha, V))
		}
		return []*graph.Value{b.Op("Sub", X, b.Op("Mul", R, step)), V}
	})
)
