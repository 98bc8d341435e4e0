package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/rng"
	"muster/tensor"
)

// Random operators. Element i of run `step` of a node depends on the node's seed (or its name, if it
// has none), the step and i only: the same on every machine and any number of threads.

// seedOf is the root of a node's draws.
func seedOf(n *graph.Node) rng.Key {
	a := n.Attr("seed")
	switch {
	case a != nil && a.Kind == graph.AttrFloat:
		return rng.New(uint64(math.Float32bits(a.F)))
	case a != nil && a.Kind == graph.AttrInt:
		return rng.New(uint64(a.I))
	case n.Name != "":
		return rng.New(0).Named(n.Name)
	case n.Out(0) != nil:
		return rng.New(0).Named(n.Out(0).Name)
	}
	return rng.New(0)
}

// half is draw i of a key: an odd multiple of 2^-53 in (0, 1).
func half(k rng.Key, i int) float64 {
	b := k.Block(uint64(i / 2))
	w := uint64(b[i%2*2]) | uint64(b[i%2*2+1])<<32
	return (float64(w>>12) + 0.5) * 0x1p-52
}

// halves writes draws lo, lo + 1, ... to u; lo is even.
func halves(u []float64, k rng.Key, lo int) {
	for i := 0; i < len(u); i += 2 {
		b := k.Block(uint64((lo + i) / 2))
		u[i] = (float64((uint64(b[0])|uint64(b[1])<<32)>>12) + 0.5) * 0x1p-52
		if i+1 < len(u) {
			u[i+1] = (float64((uint64(b[2])|uint64(b[3])<<32)>>12) + 0.5) * 0x1p-52
		}
	}
}

// drawn is an operator whose elements are functions of one draw each.
type drawn struct {
	name  string
	since int
	like  bool // shape and, by default, dtype are those of the input; else of the attributes
	attrs string
	f     func(n *graph.Node, u float64) float64
}

func (o drawn) op() Op {
	p := Op{
		Name: o.name, Since: o.since, MinOut: 1, MaxOut: 1, Attrs: "dtype seed " + o.attrs, Random: true, NoGrad: "its output is random",
		Infer: o.infer,
		Ref: func(c *Call) error {
			k, v := seedOf(c.Node).Split(c.Step), make([]float64, c.Out[0].Elems())
			for i := range v {
				v[i] = o.f(c.Node, half(k, i))
			}
			setFloats(c.Out[0], v)
			return nil
		},
		Prepare: func(p *Prep) (Kernel, bool) {
			return drawKernel(p, func(_ []*tensor.Tensor, _ int, u float64) float64 { return o.f(p.Node, u) })
		},
	}
	if o.like {
		p.MinIn, p.MaxIn = 1, 1
	} else {
		p.Attrs += " shape"
	}
	return p
}

func (o drawn) infer(c *InferCall) error {
	d, shape := tensor.DType(c.Node.Int("dtype", 0)), []graph.Dim(nil)
	switch {
	case o.like:
		shape = c.In[0].Shape
		if d == tensor.Undefined {
			d = c.In[0].DType
		}
	default:
		shape = []graph.Dim{}
		for _, n := range c.Node.Ints("shape") {
			if n < 0 {
				return c.Errorf("shape %v", c.Node.Ints("shape"))
			}
			shape = append(shape, graph.D(int(min(n, maxElems+1))))
		}
		if d == tensor.Undefined {
			d = tensor.Float32
		}
	}
	if !d.IsFloat() {
		return c.Errorf("dtype %s", d)
	}
	c.Set(0, d, shape)
	return nil
}

// drawKernel writes f of one draw for every element of a float32 output.
func drawKernel(p *Prep, f func(in []*tensor.Tensor, i int, u float64) float64) (Kernel, bool) {
	if p.Out[0].DType != tensor.Float32 {
		return Kernel{}, false
	}
	n, root := p.Out[0].Elems(), seedOf(p.Node)
	k := root.Split(0)
	return Kernel{Step: func(step uint64) { k = root.Split(step) },
		Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			y := out[0].Float32s()
			var u [64]float64
			for ; lo < hi; lo += len(u) {
				some := u[:min(len(u), hi-lo)]
				halves(some, k, lo)
				for i, v := range some {
					y[lo+i] = float32(f(in, lo+i, v))
				}
			}
		})}, true
}

func normal(n *graph.Node, u float64) float64 {
	return float(n, "mean", 0) + float64(float(n, "scale", 1)*detmath.NormalQuantile(u))
}

func uniform(n *graph.Node, u float64) float64 {
	lo, hi := float(n, "low", 0), float(n, "high", 1)
	return lo + float64(u*(hi-lo))
}

var (
	opRandomNormal      = drawn{name: "RandomNormal", since: 1, attrs: "mean scale", f: normal}.op()
	opRandomNormalLike  = drawn{name: "RandomNormalLike", since: 1, like: true, attrs: "mean scale", f: normal}.op()
	opRandomUniform     = drawn{name: "RandomUniform", since: 1, attrs: "high low", f: uniform}.op()
	opRandomUniformLike = drawn{name: "RandomUniformLike", since: 1, like: true, attrs: "high low", f: uniform}.op()
)
