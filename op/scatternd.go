package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// ScatterND(X, Indices [.., q], Updates [.., rest]) is X with the blocks X[Indices[i], ..] replaced by,
// or combined with, Updates[i], in the order of i.
//
// muster.ScatterND is the same operator in every opset.
func scatterNDOp(domain string, since int) Op {
	o := Op{
		Domain: domain, Name: "ScatterND", Since: since, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "reduction",
		Infer: func(c *InferCall) error {
			if err := c.scatterTypes(); err != nil {
				return err
			}
			x, idx, u := c.In[0].Shape, c.In[1].Shape, c.In[2].Shape
			if idx != nil && len(idx) == 0 {
				return c.Errorf("indices is a scalar")
			}
			if x != nil && idx != nil && u != nil {
				if q := idx[len(idx)-1]; q.Known() && (q.Size > len(x) || len(u) != len(idx)-1+len(x)-q.Size) {
					return c.Errorf("indices %v and updates %v for data %v", idx, u, x)
				}
			}
			return sameAs(c)
		},
		Ref: func(c *Call) error {
			to, Q, err := blockPlaces(c.In[0].Shape, c.In[1], 0)
			if err != nil {
				return err
			}
			if c.In[2].Elems() != len(to)*Q {
				return c.errorf("updates %v for indices %v and data %v", c.In[2].Shape, c.In[1].Shape, c.In[0].Shape)
			}
			copy(c.Out[0].Data, c.In[0].Data)
			scatterInto(c.Out[0], c.In[2], to, Q, c.Node.Str("reduction", "none"))
			return nil
		},
		Grad: func(c *GradCall) []*graph.Value {
			s := scatterRule{c: c,
				put: func(x, u *graph.Value, how string) *graph.Value {
					return c.B.Node(graph.Domain, "ScatterND", 1, []*graph.Value{x, c.In[1], u}, graph.Str("reduction", how))[0]
				},
				get: func(x *graph.Value) *graph.Value {
					return c.B.Node(graph.Domain, "GatherND", 1, []*graph.Value{x, c.In[1]})[0]
				}}
			return s.grad(c.Node.Str("reduction", "none"))
		},
		Prepare: scatterNDKernel,
	}
	if domain == graph.Domain {
		o.Defaults = []graph.Attr{graph.Str("reduction", "none")}
		o.Body = func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			return one(b.OpA("ScatterND", []graph.Attr{graph.Str("reduction", n.Str("reduction", "none"))}, in...))
		}
	}
	return o
}

var (
	opScatterND       = scatterNDOp("", 11)
	opMusterScatterND = scatterNDOp(graph.Domain, 1)
)

// blockPlaces lists where the blocks of Q elements start that the tuples of idx [.., q] name in a tensor of
// shape x, after `batch` leading axes that x and idx have in common.
func blockPlaces(x tensor.Shape, idx *tensor.Tensor, batch int) (to []int, Q int, err error) {
	r := len(idx.Shape) - 1
	q := idx.Shape[r]
	if r < batch || batch+q > len(x) || !x[:batch].Equal(idx.Shape[:batch]) {
		return nil, 0, fault.New(fault.Mismatch, "", "indices %v for data %v with %d batch axes", idx.Shape, x, batch)
	}
	st := x.Strides()
	B, K := idx.Shape[:batch].Elems(), idx.Shape[batch:r].Elems()
	size := x[batch:].Elems()
	Q = x[batch+q:].Elems()
	to = make([]int, 0, B*K)
	for i := 0; i < B*K; i++ {
		p := i / K * size
		for a := 0; a < q; a++ {
			v, n := index(idx, i*q+a), int64(x[batch+a])
			if v < -n || v >= n {
				return nil, 0, fault.New(fault.Mismatch, "", "index %d at element %d is not in an axis of %d", v, i*q+a, n)
			}
			p += wrap(v, int(n)) * st[batch+a]
		}
		to = append(to, p)
	}
	return to, Q, nil
}
