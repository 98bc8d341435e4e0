package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// sample is one call of one operator: what kernels, bodies and gradients are tested on.
type sample struct {
	domain, op string
	opset      int // of ai.onnx; 0 is graph.Opset
	attrs      []graph.Attr
	in         []arg
	out        int     // outputs; 0 is 1
	tol        float64 // kernel or body against reference, relative and absolute; 0 is 2e-6
	absolute   bool    // tol is an absolute bound only
	noSym      bool    // with named dimensions the rule may refuse
}

// arg is an input: t nil is absent. Constants are initialisers, the others are fed.
type arg struct {
	t     *tensor.Tensor
	konst bool
}

func (s sample) String() string {
	str := s.op
	for _, a := range s.in {
		if a.t == nil {
			str += " -"
			continue
		}
		str += fmt.Sprintf(" %s[%s]", a.t.DType, a.t.Shape)
		if n := a.t.Elems(); n <= 8 && (a.konst || n == 1) && (a.t.DType == tensor.Int64 || a.t.DType == tensor.Float32) { // axes, shapes and other parameters
			str += "="
			for i := range n {
				str += fmt.Sprintf("%g,", a.t.Float(i))
			}
		}
	}
	for _, a := range s.attrs {
		str += fmt.Sprintf(" %s=%d,%g,%s%v", a.Name, a.I, a.F, a.S, a.Ints)
	}
	if s.opset != 0 {
		str += fmt.Sprint(" opset ", s.opset)
	}
	return str
}

// build makes a graph of the one node. Axes longer than 1 of fed inputs get names if symbolic is set.
func (s sample) build(t *testing.T, symbolic bool) (*graph.Graph, *graph.Node, []*tensor.Tensor) {
	t.Helper()
	g := graph.New("sample")
	if s.opset != 0 {
		g.Model.Opsets[""] = s.opset
	}
	b := graph.NewBuilder(g)
	var in []*graph.Value
	var feeds []*tensor.Tensor
	for i, a := range s.in {
		switch {
		case a.t == nil:
			in = append(in, nil)
		case a.konst:
			in = append(in, b.Init(fmt.Sprint("c", i), a.t))
		default:
			v := b.Input(fmt.Sprint("x", i), a.t.DType)
			v.Shape = []graph.Dim{}
			for _, n := range a.t.Shape {
				d := graph.D(n)
				if symbolic && n != 1 {
					d = graph.Sym(fmt.Sprint("n", n))
				}
				v.Shape = append(v.Shape, d)
			}
			in, feeds = append(in, v), append(feeds, a.t)
		}
	}
	outs := b.Node(s.domain, s.op, max(s.out, 1), in, s.attrs...)
	n := g.Nodes[len(g.Nodes)-1]
	for i, v := range outs {
		b.Output(fmt.Sprint("y", i), v)
	}
	return g, n, feeds
}

// eval runs g by the references.
func eval(g *graph.Graph, feeds []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return evalWith(g, feeds, func(o *op.Op, c *op.Call, _ []bool) error { return o.Ref(c) })
}

// evalWith runs g node by node; konst says which inputs of a call are constants.
func evalWith(g *graph.Graph, feeds []*tensor.Tensor, run func(o *op.Op, c *op.Call, konst []bool) error) ([]*tensor.Tensor, error) {
	sizes := map[string]int{}
	for i, v := range g.Inputs {
		for k, d := range v.Shape {
			if !d.Known() {
				sizes[d.Name] = feeds[i].Shape[k]
			}
		}
	}
	g, _, err := op.Bind(g, sizes)
	if err != nil {
		return nil, err
	}
	env := map[*graph.Value]*tensor.Tensor{}
	for i, v := range g.Inputs {
		env[v] = feeds[i]
	}
	get := func(v *graph.Value) *tensor.Tensor {
		if v != nil && v.Const != nil {
			return v.Const
		}
		return env[v]
	}
	for _, n := range g.Nodes {
		o, err := op.Of(g, n)
		if err != nil {
			return nil, err
		}
		c := &op.Call{Node: n}
		var konst []bool
		for _, v := range n.Inputs {
			c.In, konst = append(c.In, get(v)), append(konst, v != nil && v.Const != nil)
		}
		for _, v := range n.Outputs {
			if v == nil {
				c.Out = append(c.Out, nil)
				continue
			}
			shape, _ := v.Static()
			if shape.Elems() > 1<<20 {
				return nil, fault.New(fault.Exhausted, n.Place(), "%s is too much for a test", shape)
			}
			env[v] = tensor.New(v.DType, shape...)
			c.Out = append(c.Out, env[v])
		}
		if err := run(o, c, konst); err != nil {
			return nil, fmt.Errorf("%s: %w", n.Place(), err)
		}
	}
	var out []*tensor.Tensor
	for _, v := range g.Outputs {
		out = append(out, get(v))
	}
	return out, nil
}

// Tolerances that the stored type sets: one unit in the last place of a half, of a bfloat16, and one step of a quantizer,
// where a quotient near a half may be rounded either way.
const (
	halfUlp  = 1.0 / (1 << 10)
	brainUlp = 1.0 / (1 << 7)
	oneStep  = 1
)

// Inputs. samples() starts the draws of a family anew, so that every test sees the same values.
var (
	pcg = rand.NewPCG(1, 2)
	rnd = rand.New(pcg)
)

// rndState and setRnd let two graphs draw the same values.
func rndState() *rand.PCG { c := *pcg; return &c }
func setRnd(s rand.PCG)   { *pcg = s }

// ff is a fed float32 tensor from N(0, 1).
func ff(shape ...int) arg {
	t := tensor.New(tensor.Float32, shape...)
	for i, v := 0, t.Float32s(); i < len(v); i++ {
		v[i] = float32(rnd.NormFloat64())
	}
	return arg{t: t}
}

// fu is a fed float32 tensor, uniform in [lo, hi).
func fu(lo, hi float64, shape ...int) arg {
	t := tensor.New(tensor.Float32, shape...)
	for i, v := 0, t.Float32s(); i < len(v); i++ {
		v[i] = float32(lo + rnd.Float64()*(hi-lo))
	}
	return arg{t: t}
}

// fp is positive and away from 0.
func fp(shape ...int) arg { return fu(0.3, 3, shape...) }

// fd is distinct multiples of 0.1 in random order, so that no two are near each other.
func fd(shape ...int) arg {
	a := ff(shape...)
	v := a.t.Float32s()
	for i, p := range rnd.Perm(len(v)) {
		v[i] = float32(p)*0.1 - 0.05*float32(len(v)) + 0.03
	}
	return a
}

// fx is the given float32 values.
func fx(v []float32, shape ...int) arg { return arg{t: tensor.OfFloat32(v, shape...)} }

// ci is a constant int64 vector, cs a constant int64 scalar.
func ci(v ...int64) arg { return arg{tensor.OfInt64(v, len(v)), true} }
func cs(v int64) arg    { return arg{tensor.OfInt64([]int64{v}), true} }

// ix are fed int64 indices in [lo, hi).
func ix(lo, hi int, shape ...int) arg {
	t := tensor.New(tensor.Int64, shape...)
	for i, v := 0, t.Int64s(); i < len(v); i++ {
		v[i] = int64(lo + rnd.IntN(hi-lo))
	}
	return arg{t: t}
}

func bb(shape ...int) arg {
	t := tensor.New(tensor.Bool, shape...)
	for i := range t.Data {
		t.Data[i] = byte(rnd.IntN(2))
	}
	return arg{t: t}
}

func raw(d tensor.DType, shape ...int) arg {
	t := tensor.New(d, shape...)
	for i := range t.Data {
		t.Data[i] = byte(rnd.IntN(256))
	}
	return arg{t: t}
}

func u8(shape ...int) arg { return raw(tensor.Uint8, shape...) }
func s8(shape ...int) arg { return raw(tensor.Int8, shape...) }

// as converts an input to another dtype; floats stay what they are.
func as(a arg, d tensor.DType) arg {
	g := graph.New("cast")
	b := graph.NewBuilder(g)
	b.Output("y", b.OpA("Cast", []graph.Attr{graph.Int("to", int64(d))}, b.Init("x", a.t)))
	out, err := eval(g, nil)
	if err != nil {
		panic(err)
	}
	return arg{out[0], a.konst}
}

// konst makes an input an initialiser.
func konst(a arg) arg { a.konst = true; return a }

var none = arg{}

// at is a list of inputs.
func at(in ...arg) []arg { return in }

// attrs is a list of attributes.
func attrs(a ...graph.Attr) []graph.Attr { return a }

// shapes are element-wise shapes with the corner cases: scalar, empty, ones, odd sizes, longer than a chunk.
var shapes = [][]int{{}, {0}, {1}, {7}, {3, 0, 2}, {1, 1}, {5, 3}, {2, 3, 4}, {17, 33}, {17000}}

// pairs are broadcast pairs.
var pairs = [][2][]int{{{}, {}}, {{5}, {}}, {{}, {5}}, {{4, 3}, {4, 3}}, {{4, 3}, {3}}, {{3}, {4, 3}}, {{4, 3}, {4, 1}},
	{{2, 1, 3}, {4, 1}}, {{1, 5}, {4, 1}}, {{2, 3, 4, 5}, {3, 1, 5}}, {{0, 3}, {3}}, {{0, 3}, {1, 1}}, {{70, 600}, {600}}, {{70, 600}, {70, 600}}, {{3, 2, 7}, {1, 2, 7}}, {{6, 20000}, {1}},
	{{300, 7}, {7}}, {{7}, {300, 7}}, {{3, 300, 1}, {3, 1, 5}}, {{2, 3, 5, 11}, {2, 1, 1, 11}}, {{2, 9, 5, 7}, {9, 1, 1}}}

// diff compares an output of s with what it should be.
func (s sample) diff(got, want *tensor.Tensor) string {
	tol := s.tol
	if tol == 0 {
		tol = 2e-6
	}
	if s.absolute {
		return tensor.Diff(got, want, 0, tol)
	}
	return diff(got, want, tol)
}

// diff compares integers exactly, or with an absolute tolerance if tol is a whole step.
func diff(got, want *tensor.Tensor, tol float64) string {
	if !want.DType.IsFloat() {
		return tensor.Diff(got, want, 0, math.Floor(tol))
	}
	return tensor.Diff(got, want, tol, tol)
}

// kernelOrRef runs a node by its kernel if it has one for these shapes.
func kernelOrRef(o *op.Op, c *op.Call, konst []bool) error {
	if o.Prepare == nil {
		return o.Ref(c)
	}
	p := &op.Prep{Node: c.Node, Out: c.Out}
	for i, x := range c.In {
		if x != nil && !konst[i] {
			x = &tensor.Tensor{DType: x.DType, Shape: x.Shape}
		}
		p.In = append(p.In, x)
	}
	k, ok := o.Prepare(p)
	if !ok {
		return o.Ref(c)
	}
	if k.Check != nil {
		if err := k.Check(c.In); err != nil {
			return err
		}
	}
	k.Run(c.In, c.Out, tensor.Alloc(k.Scratch))
	return nil
}

// both evaluates by the references, then by kernels where there are any, and returns the two sets of outputs.
func both(g *graph.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	a, err := eval(g, in)
	if err != nil {
		return nil, err
	}
	b, err := evalWith(g, in, kernelOrRef)
	return append(a, b...), err
}
