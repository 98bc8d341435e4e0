package op

import (
	"muster/graph"
	"muster/tensor"
)

// The operators here keep the bytes and change the shape only.

func copyBytes(c *Call) error {
	copy(c.Out[0].Data, c.In[0].Data)
	return nil
}

func reshapeGrad(c *GradCall) []*graph.Value {
	return one(reshapeLike(c.B, c.DOut[0], c.In[0]))
}

var opReshape = Op{
	Name: "Reshape", Since: 5, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "allowzero", View: true,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantType(1, tensor.Int64), c.wantRank(1, 1)); err != nil {
			return err
		}
		l, ok := c.list(1)
		if !ok {
			s, err := c.shapeFrom(1)
			c.Set(0, c.In[0].DType, s)
			return err
		}
		s, err := c.reshaped(c.In[0].Shape, l)
		c.Set(0, c.In[0].DType, s)
		return err
	},
	Ref: copyBytes, Grad: reshapeGrad,
}

// reshaped resolves 0 (keep the axis) and -1 (what is left) of a Reshape.
func (c *InferCall) reshaped(in []graph.Dim, l []sym) ([]graph.Dim, error) {
	out, free := make([]graph.Dim, len(l)), -1
	for i, s := range l {
		switch {
		case !s.known:
			out[i] = s.dim()
		case s.v == -1 && free < 0:
			free = i
			out[i].Size = -1
		case s.v < 0:
			return nil, c.Errorf("the new shape has a size of %d", s.v)
		case s.v == 0 && c.Node.Int("allowzero", 0) == 0:
			if in == nil {
				out[i].Size = -1
				continue
			}
			if i >= len(in) {
				return nil, c.Errorf("the new shape keeps axis %d of a tensor of rank %d", i, len(in))
			}
			out[i] = in[i]
		default:
			out[i] = graph.D(int(s.v))
		}
	}
	if in == nil {
		return out, nil
	}
	return out, c.fit(in, out, free)
}

// fit solves for the free axis of out (-1: none) so that the elements of in fill it.
func (c *InferCall) fit(in, out []graph.Dim, free int) error {
	restIn, restOut := leftover(in, out, free), leftover(out, in, -1)
	if free >= 0 {
		restOut = leftover(append(append([]graph.Dim{}, out[:free]...), out[free+1:]...), in, -1)
	}
	a, okIn := known(restIn)
	b, okOut := known(restOut)
	switch {
	case free < 0 && okIn && okOut && a != b:
		return c.Errorf("%v cannot be reshaped to %v", in, out)
	case free < 0 || !okOut:
		return nil
	case okIn && b == 0:
		if a == 0 {
			return c.Errorf("the size of -1 is not determined by %v and %v", in, out)
		}
		return c.Errorf("%v cannot be reshaped to %v", in, out)
	case okIn && a%b != 0:
		return c.Errorf("%v cannot be reshaped to %v", in, out)
	case okIn:
		out[free] = graph.D(a / b)
	default:
		out[free] = theName(restIn, b)
	}
	return nil
}

// leftover returns the dimensions of a without those named ones that b has too.
func leftover(a, b []graph.Dim, skip int) []graph.Dim {
	used := map[string]int{}
	for i, d := range b {
		if i != skip && !d.Known() && d.Name != "" {
			used[d.Name]++
		}
	}
	var out []graph.Dim
	for _, d := range a {
		if !d.Known() && d.Name != "" && used[d.Name] > 0 {
			used[d.Name]--
			continue
		}
		out = append(out, d)
	}
	return out
}

// theName is the one named dimension of s if the others multiply to n.
func theName(s []graph.Dim, n int) graph.Dim {
	var name graph.Dim
	count, prod := 0, 1
	for _, d := range s {
		if d.Known() {
			prod *= d.Size
			continue
		}
		name, count = d, count+1
	}
	if count == 1 && prod == n {
		return name
	}
	return graph.Dim{Size: -1}
}

var opFlatten = Op{
	Name: "Flatten", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axis", View: true,
	Infer: func(c *InferCall) error {
		in := c.In[0].Shape
		if in == nil {
			c.Set(0, c.In[0].DType, unknown(2))
			return nil
		}
		a := c.Node.Int("axis", 1)
		if a < int64(-len(in)) || a > int64(len(in)) {
			return c.Errorf("axis %d is not in %v", a, in)
		}
		at := wrap(a, len(in))
		c.Set(0, c.In[0].DType, []graph.Dim{product(in[:at]), product(in[at:])})
		return nil
	},
	Ref: copyBytes, Grad: reshapeGrad,
}

// product multiplies dimensions; a name survives only beside ones.
func product(s []graph.Dim) graph.Dim {
	if n, ok := known(s); ok {
		return graph.D(n)
	}
	return theName(s, 1)
}

func squeezeOp(since, maxIn int, attrs string) Op {
	return Op{
		Name: "Squeeze", Since: since, MinIn: 1, MaxIn: maxIn, MinOut: 1, MaxOut: 1, Attrs: attrs, View: true,
		Infer: func(c *InferCall) error {
			in := c.In[0].Shape
			axes, ok := listOf(c.Node, 1, c.Const(1), "axes")
			if in == nil || !ok {
				c.Set(0, c.In[0].DType, nil)
				return nil
			}
			drop, err := axisSet(c.Node.Place(), axes, len(in))
			if err != nil {
				return err
			}
			out := []graph.Dim{}
			for i, d := range in {
				switch {
				case axes == nil && !d.Known():
					c.Set(0, c.In[0].DType, nil)
					return nil
				case drop[i] && d.Known() && d.Size != 1:
					return c.Errorf("axis %d of %v is not 1", i, in)
				case !drop[i] && (axes != nil || d.Size != 1):
					out = append(out, d)
				}
			}
			c.Set(0, c.In[0].DType, out)
			return nil
		},
		Ref: copyBytes, Grad: reshapeGrad,
	}
}

func unsqueezeOp(since, in int, attrs string) Op {
	return Op{
		Name: "Unsqueeze", Since: since, MinIn: in, MaxIn: in, MinOut: 1, MaxOut: 1, Attrs: attrs, View: true,
		Infer: func(c *InferCall) error {
			in := c.In[0].Shape
			axes, ok := listOf(c.Node, 1, c.Const(1), "axes")
			if in == nil || !ok {
				c.Set(0, c.In[0].DType, nil)
				return nil
			}
			added, err := axisSet(c.Node.Place(), axes, len(in)+len(axes))
			if err != nil {
				return err
			}
			out := make([]graph.Dim, len(added))
			for i := range out {
				if added[i] {
					out[i] = graph.D(1)
					continue
				}
				out[i], in = in[0], in[1:]
			}
			c.Set(0, c.In[0].DType, out)
			return nil
		},
		Ref: copyBytes, Grad: reshapeGrad,
	}
}

var (
	opSqueeze1    = squeezeOp(1, 1, "axes")
	opSqueeze13   = squeezeOp(13, 2, "")
	opUnsqueeze1  = unsqueezeOp(1, 1, "axes")
	opUnsqueeze13 = unsqueezeOp(13, 2, "")
)
