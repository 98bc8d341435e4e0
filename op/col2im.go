package op

import (
	"muster/graph"
	"muster/tensor"
)

// Col2Im adds the columns [N, C K, L] of blocks that lie over an image up to the image [N, C, S...]: K is the
// number of elements of a block, L the number of its places.
var opCol2Im = Op{
	Name: "Col2Im", Since: 18, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "dilations pads strides", Dynamic: true,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantType(1, tensor.Int64), c.wantType(2, tensor.Int64), c.wantRank(0, 3), c.wantRank(1, 1), c.wantRank(2, 1)); err != nil {
			return err
		}
		if !c.In[0].DType.IsFloat() {
			return c.unsupported("columns of %s are not supported", c.In[0].DType)
		}
		image, err := c.shapeFrom(1)
		if err != nil {
			return err
		}
		if image == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		out := append(unknown(2), image...)
		if x := c.In[0].Shape; x != nil {
			out[0] = x[0]
			if block := c.Const(2); block != nil && x[1].Known() {
				k := 1
				for _, v := range ints(block) {
					if v < 1 || v > maxAxis || k > maxElems/int(v) {
						return c.Errorf("a block is %v", ints(block))
					}
					k *= int(v)
				}
				if x[1].Size%k != 0 {
					return c.Errorf("%d rows are not blocks of %d", x[1].Size, k)
				}
				out[1] = graph.D(x[1].Size / k)
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		m, err := columnsOf(c.Node, c.In[0].Shape, c.In[1], c.In[2])
		if err != nil {
			return err
		}
		out := c.resize(0, append(tensor.Shape{m.N, m.C}, m.image...)...)
		x, y, S := floats(c.In[0]), make([]float64, out.Elems()), m.image.Elems()
		for p := 0; p < m.N*m.C; p++ {
			addColumns(y[p*S:(p+1)*S], x[p*len(m.to):], m.to)
		}
		setFloats(out, y)
		return nil
	},
	// The columns read the image where they were added; what lies outside reads a 0 behind it.
	Grad: func(c *GradCall) []*graph.Value {
		b, x := c.B, c.In[0]
		s, ok := x.Static()
		if !ok || c.In[1].Const == nil || c.In[2].Const == nil {
			c.Fail("the shapes are not constant")
			return one(nil)
		}
		m, err := columnsOf(c.Node, s, c.In[1].Const, c.In[2].Const)
		if err != nil {
			c.Fail("%v", err)
			return one(nil)
		}
		S := m.image.Elems()
		at := make([]int64, len(m.to))
		for i, k := range m.to {
			if at[i] = int64(k); k < 0 {
				at[i] = int64(S)
			}
		}
		dy := reshape(b, c.DOut[0], int64(m.N), int64(m.C), int64(S))
		zero := b.Init("zero", tensor.New(x.DType, m.N, m.C, 1))
		dy = b.OpA("Concat", []graph.Attr{graph.Int("axis", 2)}, dy, zero)
		return one(reshapeLike(b, b.OpA("Gather", []graph.Attr{graph.Int("axis", 2)}, dy, b.Ints(at...)), x))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		if p.In[0].DType != tensor.Float32 || p.In[1].Data == nil || p.In[2].Data == nil {
			return Kernel{}, false
		}
		m, err := columnsOf(p.Node, p.In[0].Shape, p.In[1], p.In[2])
		if err != nil {
			return Kernel{}, false
		}
		S := m.image.Elems()
		return Kernel{Run: rowKernel(m.N*m.C, len(m.to), func(in, out []*tensor.Tensor, lo, hi int) {
			for i := lo; i < hi; i++ {
				y := out[0].Float32s()[i*S : (i+1)*S]
				clear(y)
				addColumns(y, in[0].Float32s()[i*len(m.to):], m.to)
			}
		})}, true
	},
}

func addColumns[T float32 | float64](y, x []T, to []int32) {
	for i, k := range to {
		if k >= 0 {
			y[k] += x[i]
		}
	}
}

// columns is a layout of blocks over an image: to[k L + l] is the pixel of element k at place l, -1 outside.
type columns struct {
	N, C  int
	image tensor.Shape
	to    []int32
}

func columnsOf(n *graph.Node, x tensor.Shape, image, block *tensor.Tensor) (m columns, err error) {
	c := &InferCall{Node: n}
	D := image.Elems()
	get := func(name string, k int, def int64) []int64 {
		if n.Attr(name) != nil {
			return n.Ints(name)
		}
		v := make([]int64, k)
		for i := range v {
			v[i] = def
		}
		return v
	}
	dil, pads, str, bl := get("dilations", D, 1), get("pads", 2*D, 0), get("strides", D, 1), ints(block)
	if D == 0 || len(bl) != D || len(dil) != D || len(str) != D || len(pads) != 2*D {
		return m, c.Errorf("an image of %d axes with blocks %v, dilations %v, pads %v and strides %v", D, bl, dil, pads, str)
	}
	K, L := 1, 1
	places := make([]int, D)
	for a, s := range ints(image) {
		big := func(v int64) bool { return v < 0 || v > maxAxis }
		if big(s) || big(bl[a]) || bl[a] == 0 || big(dil[a]) || dil[a] == 0 || big(str[a]) || str[a] == 0 || big(pads[a]) || big(pads[D+a]) {
			return m, c.Errorf("an image %v with blocks %v, dilations %v, pads %v and strides %v", ints(image), bl, dil, pads, str)
		}
		m.image = append(m.image, int(s))
		span := s + pads[a] + pads[D+a] - dil[a]*(bl[a]-1) - 1
		if span < 0 {
			return m, c.Errorf("a block %v does not fit an image %v", bl, ints(image))
		}
		places[a] = int(span/str[a]) + 1
		if K > maxAxis/int(bl[a]) || L > maxAxis/places[a] {
			return m, c.Errorf("blocks %v are too many", bl)
		}
		K, L = K*int(bl[a]), L*places[a]
	}
	if elems, ok := m.image.CheckedElems(); !ok || elems > maxAxis || x[1]%K != 0 || x[2] != L {
		return m, c.Errorf("columns %v for blocks of %d at %d places", x, K, L)
	}
	m.N, m.C = x[0], x[1]/K
	m.to = make([]int32, 0, K*L)
	for k := 0; k < K; k++ {
		for l := 0; l < L; l++ {
			m.to = append(m.to, m.pixel(k, l, bl, dil, pads, str, places))
		}
	}
	return m, nil
}

func (m *columns) pixel(k, l int, bl, dil, pads, str []int64, places []int) int32 {
	at, stride := 0, 1
	for a := len(bl) - 1; a >= 0; a-- {
		i := l%places[a]*int(str[a]) - int(pads[a]) + k%int(bl[a])*int(dil[a])
		k, l = k/int(bl[a]), l/places[a]
		if i < 0 || i >= m.image[a] {
			return -1
		}
		at += i * stride
		stride *= m.image[a]
	}
	return int32(at)
}
