package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// offsets lists base + the dot product of index and strides for every index of shape, in row-major order.
func offsets(shape tensor.Shape, strides []int, base int) []int {
	out := make([]int, shape.Elems())
	at := make([]int, len(shape))
	for i := range out {
		out[i] = base
		for a := len(shape) - 1; a >= 0; a-- {
			at[a]++
			base += strides[a]
			if at[a] < shape[a] {
				break
			}
			base -= shape[a] * strides[a]
			at[a] = 0
		}
	}
	return out
}

// broadcastStrides returns the strides that read a tensor of shape in as one of shape out; 0 where it is repeated.
func broadcastStrides(out, in tensor.Shape) []int {
	st, own := make([]int, len(out)), in.Strides()
	for i := range in {
		if in[i] != 1 {
			st[len(out)-len(in)+i] = own[i]
		}
	}
	return st
}

// broadcast lists the element of in that every element of out reads.
func broadcast(out, in tensor.Shape) []int { return offsets(out, broadcastStrides(out, in), 0) }

// copyElems copies element from[i] of src to element i of dst.
func copyElems(dst, src *tensor.Tensor, from []int) {
	size := dst.DType.Bits() / 8
	for i, j := range from {
		copy(dst.Data[i*size:(i+1)*size], src.Data[j*size:(j+1)*size])
	}
}

// broadcastDims applies numpy's rule to shapes that may be known by name only.
func (c *InferCall) broadcastDims(shapes ...[]graph.Dim) ([]graph.Dim, error) {
	rank := 0
	for _, s := range shapes {
		if s == nil {
			return nil, nil
		}
		rank = max(rank, len(s))
	}
	out := make([]graph.Dim, rank)
	for i := range out {
		out[i] = graph.D(1)
	}
	for _, s := range shapes {
		for i, d := range s {
			o := &out[rank-len(s)+i]
			switch {
			case o.Same(d) || d.Known() && d.Size == 1:
			case o.Known() && o.Size == 1:
				*o = d
			case o.Known() && d.Known():
				return nil, c.Errorf("%v does not broadcast", shapes)
			case o.Known(): // d is 1 or o at run time
			case d.Known():
				*o = d
			default:
				*o = graph.Dim{Size: -1}
			}
		}
	}
	return out, nil
}

// axis returns a in [0, rank), counting negative ones from the end.
func axis(place string, a int64, rank int) (int, error) {
	k, ok := axisIn(a, rank)
	if !ok {
		return 0, fault.New(fault.Mismatch, place, "axis %d is not in a tensor of rank %d", a, rank)
	}
	return k, nil
}

// axisIn counts a negative axis from the end; false if it is outside.
func axisIn(axis int64, rank int) (int, bool) {
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), axis >= 0 && axis < int64(rank)
}

// wrap is axis for values that a shape rule has checked.
func wrap(a int64, rank int) int {
	if a < 0 {
		a += int64(rank)
	}
	return int(a)
}

// axisSet returns which axes are listed.
func axisSet(place string, axes []int64, rank int) ([]bool, error) {
	set := make([]bool, rank)
	for _, a := range axes {
		i, err := axis(place, a, rank)
		if err != nil {
			return nil, err
		}
		if set[i] {
			return nil, fault.New(fault.Mismatch, place, "axis %d is listed twice", a)
		}
		set[i] = true
	}
	return set, nil
}

// listOf returns the integers of a constant input, or of the attribute if there
// is no such input. known is false for an input that is not constant.
func listOf(n *graph.Node, i int, t *tensor.Tensor, attr string) (v []int64, known bool) {
	if n.In(i) == nil {
		return n.Ints(attr), true
	}
	if t == nil || t.DType != tensor.Int64 && t.DType != tensor.Int32 {
		return nil, false
	}
	return ints(t), true
}

// in returns input i of a call, nil if it is absent.
func (c *Call) in(i int) *tensor.Tensor {
	if i < len(c.In) {
		return c.In[i]
	}
	return nil
}

func (c *Call) out(i int) *tensor.Tensor {
	if i < len(c.Out) {
		return c.Out[i]
	}
	return nil
}

func (c *Call) errorf(format string, args ...any) error {
	return fault.New(fault.Mismatch, "", format, args...)
}

func (p *Prep) in(i int) *tensor.Tensor {
	if i < len(p.In) {
		return p.In[i]
	}
	return nil
}

func (p *Prep) out(i int) *tensor.Tensor {
	if i < len(p.Out) {
		return p.Out[i]
	}
	return nil
}

// in returns input i, nil if it is absent.
func (c *InferCall) in(i int) *graph.Value {
	if i < len(c.In) {
		return c.In[i]
	}
	return nil
}

// sameTypes checks that the given inputs have the dtype of input 0.
func (c *InferCall) sameTypes() error {
	for i, v := range c.In {
		if v != nil && v.DType != c.In[0].DType {
			return c.Errorf("input %d is %s, input 0 is %s", i, v.DType, c.In[0].DType)
		}
	}
	return nil
}

// sameType checks that inputs i and j, if they are there, have one dtype.
func (c *InferCall) sameType(i, j int) error {
	if a, b := c.in(i), c.in(j); a != nil && b != nil && a.DType != b.DType {
		return c.Errorf("input %d is %s, input %d is %s", i, a.DType, j, b.DType)
	}
	return nil
}

// wantType checks the dtype of input i, if it is there.
func (c *InferCall) wantType(i int, want ...tensor.DType) error {
	v := c.in(i)
	if v == nil {
		return nil
	}
	for _, d := range want {
		if v.DType == d {
			return nil
		}
	}
	return c.Errorf("input %d is %s, want %v", i, v.DType, want)
}

func (c *InferCall) wantFloat(i int) error {
	return c.wantType(i, tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16)
}

// wantIndex checks that input i holds indices.
func (c *InferCall) wantIndex(i int) error { return c.wantType(i, tensor.Int64, tensor.Int32) }

// wantRank checks the rank of input i, if it is known.
func (c *InferCall) wantRank(i, rank int) error {
	if v := c.in(i); v != nil && v.Shape != nil && len(v.Shape) != rank {
		return c.Errorf("input %d has the shape %v, want rank %d", i, v.Shape, rank)
	}
	return nil
}

// firstErr returns the first error of a list of checks.
func firstErr(errs ...error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

func dims(s ...int) []graph.Dim {
	d := make([]graph.Dim, len(s))
	for i, n := range s {
		d[i] = graph.D(n)
	}
	return d
}

// unknown returns rank dimensions of which nothing is known.
func unknown(rank int) []graph.Dim {
	d := make([]graph.Dim, rank)
	for i := range d {
		d[i].Size = -1
	}
	return d
}

// known is the product of the dimensions, false if one is not known.
func known(s []graph.Dim) (int, bool) {
	n := 1
	for _, d := range s {
		if !d.Known() {
			return 0, false
		}
		if d.Size > 0 && n > maxElems/d.Size {
			return 0, false
		}
		n *= d.Size
	}
	return n, true
}

// sameAs sets output 0 to the dtype and shape of input 0.
func sameAs(c *InferCall) error {
	c.setType(0, c.In[0], c.In[0].Shape)
	return nil
}

func (c *InferCall) unsupported(format string, args ...any) error {
	return fault.New(fault.Unsupported, c.Node.Place(), format, args...)
}
