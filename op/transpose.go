package op

import (
	"muster/graph"
	"muster/tensor"
)

var opTranspose = Op{
	Name: "Transpose", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "perm",
	Infer: func(c *InferCall) error {
		in := c.In[0].Shape
		if in == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		perm := permutation(c.Node, len(in))
		if len(perm) != len(in) {
			return c.Errorf("perm %v does not fit %v", perm, in)
		}
		if _, err := axisSet(c.Node.Place(), perm, len(in)); err != nil {
			return err
		}
		out := make([]graph.Dim, len(in))
		for i, p := range perm {
			if p < 0 {
				return c.Errorf("perm %v has a negative axis", perm)
			}
			out[i] = in[p]
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		copyElems(c.Out[0], c.In[0], offsets(c.Out[0].Shape, permuted(c.In[0].Shape, permutation(c.Node, len(c.In[0].Shape))), 0))
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		perm := permutation(c.Node, len(c.In[0].Shape))
		inverse := make([]int64, len(perm))
		for i, p := range perm {
			inverse[p] = int64(i)
		}
		return one(transpose(c.B, c.DOut[0], inverse...))
	},
	Prepare: transposeKernel,
}

// permutation is attribute perm, by default the reversed order of axes.
func permutation(n *graph.Node, rank int) []int64 {
	if n.Attr("perm") != nil {
		return n.Ints("perm")
	}
	perm := make([]int64, rank)
	for i := range perm {
		perm[i] = int64(rank - 1 - i)
	}
	return perm
}

// permuted returns the strides that read a tensor of shape in along the permuted axes.
func permuted(in tensor.Shape, perm []int64) []int {
	own, st := in.Strides(), make([]int, len(in))
	for i, p := range perm {
		st[i] = own[p]
	}
	return st
}
