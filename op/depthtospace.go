package op

import (
	"unsafe"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// DepthToSpace moves blocks of channels [N, C bs bs, H, W] to squares of pixels [N, C, H bs, W bs]. In mode DCR
// the block comes before the channel in the depth axis, in CRD behind it.
var opDepthToSpace = Op{
	Name: "DepthToSpace", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "blocksize mode",
	Infer: func(c *InferCall) error {
		x, bs, err := c.blocks()
		if err != nil || x == nil {
			return err
		}
		out := unknown(4)
		out[0] = x[0]
		if x[1].Known() {
			if x[1].Size%(bs*bs) != 0 {
				return c.Errorf("%d channels are not blocks of %d by %d", x[1].Size, bs, bs)
			}
			out[1] = graph.D(x[1].Size / (bs * bs))
		}
		for a := 2; a < 4; a++ {
			if x[a].Known() {
				out[a] = graph.D(x[a].Size * bs)
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		copyElems(c.Out[0], c.In[0], blockView(c.Node, c.In[0].Shape, true).offsets())
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		if c.Node.Str("mode", "DCR") == "DCR" {
			return one(c.B.OpA("SpaceToDepth", []graph.Attr{graph.Int("blocksize", c.Node.Int("blocksize", 0))}, c.DOut[0]))
		}
		b, bs := c.B, c.Node.Int("blocksize", 0)
		s := shapeOf(b, c.In[0]) // N, C bs bs, H, W
		size := func(i int64) *graph.Value { return b.Op("Gather", s, b.Ints(i)) }
		six := reshapeTo(b, c.DOut[0], concat(b, size(0), b.Op("Div", size(1), b.Ints(bs*bs)), size(2), b.Ints(bs), size(3), b.Ints(bs)))
		return one(reshapeTo(b, transpose(b, six, 0, 1, 3, 5, 2, 4), s))
	},
	Prepare: depthKernel,
}

// SpaceToDepth moves squares of pixels to channels, the block before the channel.
var opSpaceToDepth = Op{
	Name: "SpaceToDepth", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "blocksize",
	Infer: func(c *InferCall) error {
		x, bs, err := c.blocks()
		if err != nil || x == nil {
			return err
		}
		out := unknown(4)
		out[0] = x[0]
		if x[1].Known() && x[1].Size <= maxElems/(bs*bs) {
			out[1] = graph.D(x[1].Size * bs * bs)
		}
		for a := 2; a < 4; a++ {
			if x[a].Known() {
				if x[a].Size%bs != 0 {
					return c.Errorf("%v is not made of blocks of %d", x, bs)
				}
				out[a] = graph.D(x[a].Size / bs)
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		copyElems(c.Out[0], c.In[0], blockView(c.Node, c.In[0].Shape, false).offsets())
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		return one(c.B.OpA("DepthToSpace", []graph.Attr{graph.Int("blocksize", c.Node.Int("blocksize", 0))}, c.DOut[0]))
	},
	Prepare: func(p *Prep) (Kernel, bool) { return blockView(p.Node, p.In[0].Shape, false).kernel(p) },
}

// blocks checks the input and sets the type of the output.
func (c *InferCall) blocks() ([]graph.Dim, int, error) {
	bs := c.Node.Int("blocksize", 0)
	if bs < 1 || bs > 1<<15 {
		return nil, 0, c.Errorf("a block size of %d", bs)
	}
	switch c.Node.Str("mode", "DCR") {
	case "DCR", "CRD":
	default:
		return nil, 0, c.unsupported("mode %q is not supported", c.Node.Str("mode", ""))
	}
	c.Set(0, c.In[0].DType, unknown(4))
	return c.In[0].Shape, int(bs), c.wantRank(0, 4)
}

// permute6 is the output seen with six axes and the strides that read the input.
type permute6 struct {
	shape   tensor.Shape
	strides []int
}

func blockView(n *graph.Node, x tensor.Shape, toSpace bool) permute6 {
	bs := int(n.Int("blocksize", 0))
	var in tensor.Shape
	var perm []int64
	switch {
	case !toSpace: // [N, C, H, b, W, b] to [N, b, b, C, H, W]
		in, perm = tensor.Shape{x[0], x[1], x[2] / bs, bs, x[3] / bs, bs}, []int64{0, 3, 5, 1, 2, 4}
	case n.Str("mode", "DCR") == "DCR": // [N, b, b, C, H, W] to [N, C, H, b, W, b]
		in, perm = tensor.Shape{x[0], bs, bs, x[1] / (bs * bs), x[2], x[3]}, []int64{0, 3, 4, 1, 5, 2}
	default:
		in, perm = tensor.Shape{x[0], x[1] / (bs * bs), bs, bs, x[2], x[3]}, []int64{0, 1, 4, 2, 5, 3}
	}
	v := permute6{strides: permuted(in, perm)}
	for _, p := range perm {
		v.shape = append(v.shape, in[p])
	}
	return v
}

func (v permute6) offsets() []int { return offsets(v.shape, v.strides, 0) }

func (v permute6) kernel(p *Prep) (Kernel, bool) {
	return stridedKernelOf(p, v.shape, v.strides)
}

// depthKernel interleaves the rows of bs channels into one row of the output; other sizes than 4 bytes go the general way.
func depthKernel(p *Prep) (Kernel, bool) {
	v := blockView(p.Node, p.In[0].Shape, true)
	if p.Out[0].DType.Bits() != 32 {
		return v.kernel(p)
	}
	// The shape is [N, C, H, b, W, b]: a row of the output has its two last axes.
	W, bs, st := v.shape[4], v.shape[5], v.strides
	lead, ok := newStrided(p.Out[0].DType, append(v.shape[:4:4], 1, 1), append(st[:4:4], 0, 0), 0)
	if !ok {
		return Kernel{}, false
	}
	rows := v.shape[:4].Elems()
	outer := lead
	if lead.axes < maxAxes && (lead.inner > 1 || lead.axes > 0) { // all leading axes are walked over, the last too
		outer.shape[outer.axes], outer.stride[outer.axes] = lead.inner, lead.step
		outer.axes++
	}
	return Kernel{Run: rowKernel(rows, W*bs, func(in, out []*tensor.Tensor, lo, hi int) {
		src, dst := words[uint32](in[0].Data), words[uint32](out[0].Data)
		for r := lo; r < hi; r++ {
			at, d := outer.from(r), dst[r*W*bs:(r+1)*W*bs]
			if bs == 2 {
				kernel.Weave(floatWords(d), floatWords(src[at:][:W]), floatWords(src[at+st[5]:][:W]))
				continue
			}
			b := 0
			for ; bs%2 == 0 && b < bs; b += 2 {
				weavePairs(d[b:], bs, src[at+b*st[5]:][:W], src[at+(b+1)*st[5]:][:W])
			}
			for ; b < bs; b++ {
				for w, x := range src[at+b*st[5]:][:W] {
					d[w*bs+b] = x
				}
			}
		}
	})}, true
}

// weavePairs writes x[i] and y[i] beside each other, step apart, as one word; step is even and d begins at a place of a word.
func weavePairs(d []uint32, step int, x, y []uint32) {
	if len(x) == 0 {
		return
	}
	step /= 2
	pairs := unsafe.Slice((*uint64)(unsafe.Pointer(&d[0])), (len(x)-1)*step+1)
	at := 0
	for i, v := range x {
		pairs[at] = uint64(v) | uint64(y[i])<<32
		at += step
	}
}

// floatWords views words as what is only moved.
func floatWords(v []uint32) []float32 {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&v[0])), len(v))
}
