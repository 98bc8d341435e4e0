package op

import (
	"muster/graph"
	"muster/tensor"
)

// Axes: R rows of the table (axis 0), D values of a row (all other axes), in blocks along the last one.

// GatherBlockQuantized(data, indices, scales, zero_points) of com.microsoft takes rows of a table of 4 or 8 bit
// values and turns them into floats: (q - zero) * scale, with a scale and a zero point for every block of
// the last axis. Data is uint4, int4 or, packed with the lowest bits first, uint8. Without zero points they are 0, and
// the middle of the range for uint8. An index outside the table gives zeros.
var opGatherBlockQuantized = Op{
	Domain: "com.microsoft", Name: "GatherBlockQuantized", Since: 1, MinIn: 3, MaxIn: 4, MinOut: 1, MaxOut: 1,
	Attrs: "bits block_size quantize_axis gather_axis", Stored: true, NoGrad: "the table is quantized",
	Infer: func(c *InferCall) error {
		x, idx := c.In[0].Shape, c.In[1].Shape
		if err := firstErr(c.wantType(0, tensor.Uint4, tensor.Int4, tensor.Uint8), c.wantIndex(1), c.wantFloat(2), c.sameType(0, 3)); err != nil {
			return err
		}
		if x == nil || idx == nil {
			c.Set(0, c.In[2].DType, nil)
			return nil
		}
		f := tableForm(c.Node, c.In[0].DType, len(x))
		if !f.valid() {
			return c.unsupported("bits, block_size, gather_axis or quantize_axis are not supported: rows of axis 0 and blocks along the last axis are")
		}
		last := x[len(x)-1]
		if last.Known() {
			last = graph.D(last.Size * f.perEntry)
			if err := f.checkScales(c, last.Size); err != nil {
				return err
			}
		} else if f.perEntry > 1 {
			last = graph.Dim{Size: -1}
		}
		out := append(append([]graph.Dim{}, idx...), x[1:len(x)-1]...)
		c.Set(0, c.In[2].DType, append(out, last))
		return nil
	},
	Ref: func(c *Call) error {
		t := newTable(c.Node, c.In)
		y, row := make([]float64, 0, c.Out[0].Elems()), make([]float64, t.width())
		for i := range c.In[1].Elems() {
			t.row(index(c.In[1], i), func(k int, q, scale float64) { row[k] = q * scale })
			y = append(y, row...)
		}
		setFloats(c.Out[0], y)
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		if p.In[2].DType != tensor.Float32 {
			return Kernel{}, false
		}
		n, D := p.In[1].Elems(), 0
		if n > 0 {
			D = p.Out[0].Elems() / n
		}
		return Kernel{Run: rowKernel(n, D, func(in, out []*tensor.Tensor, lo, hi int) {
			t := newTable(p.Node, in)
			for i := lo; i < hi; i++ {
				y := out[0].Float32s()[i*D : (i+1)*D]
				t.row32(index(in[1], i), y)
			}
		})}, true
	},
}

// blockForm is the form of a quantized table.
type blockForm struct {
	bits, block, perEntry int // values in an entry of data
	gather, quantize      int
	rank                  int
	packed, signed        bool // in uint8; int4
}

func tableForm(n *graph.Node, d tensor.DType, rank int) blockForm {
	f := blockForm{bits: 4, block: int(n.Int("block_size", 128)), perEntry: 1, rank: rank, packed: d == tensor.Uint8, signed: d == tensor.Int4}
	if f.packed {
		f.bits = int(n.Int("bits", 4))
		if f.bits == 4 {
			f.perEntry = 2
		}
	}
	f.gather, f.quantize = int(n.Int("gather_axis", 0)), int(n.Int("quantize_axis", 1))
	if f.gather < 0 {
		f.gather += rank
	}
	if f.quantize < 0 {
		f.quantize += rank
	}
	return f
}

func (f blockForm) valid() bool {
	return (f.bits == 4 || f.bits == 8) && f.block >= 16 && f.block < 1<<31 && f.block&(f.block-1) == 0 && f.rank >= 2 && f.gather == 0 && f.quantize == f.rank-1
}

// checkScales checks the sizes of scales and zero points for a last axis of n values.
func (f blockForm) checkScales(c *InferCall, n int) error {
	x, blocks := c.In[0].Shape, (n+f.block-1)/f.block
	for i, want := range map[int]int{2: blocks, 3: blocks} {
		v := c.in(i)
		if v == nil || v.Shape == nil {
			continue
		}
		if i == 3 && f.packed {
			want = (blocks*f.bits + 7) / 8
		}
		if len(v.Shape) != len(x) {
			return c.Errorf("input %d is %v for a table of %v", i, v.Shape, x)
		}
		for k, d := range v.Shape {
			size := x[k]
			if k == len(x)-1 {
				size = graph.D(want)
			}
			if d.Known() && size.Known() && d.Size != size.Size {
				return c.Errorf("input %d is %v for a table of %v", i, v.Shape, x)
			}
		}
	}
	return nil
}

// blockTable is a quantized table with its rows' parts: rows [R][P][n] with blocks along n.
type blockTable struct {
	blockForm
	R, P, n, blocks   int
	data, scale, zero *tensor.Tensor
}

func newTable(node *graph.Node, in []*tensor.Tensor) blockTable {
	s := in[0].Shape
	t := blockTable{blockForm: tableForm(node, in[0].DType, len(s)), R: s[0], P: s[1 : len(s)-1].Elems(), data: in[0], scale: in[2], zero: optional(in, 3)}
	t.n = s[len(s)-1] * t.perEntry
	t.blocks = (t.n + t.block - 1) / t.block
	return t
}

func (t *blockTable) width() int { return t.P * t.n }

// few is value i of packed values of the table's bits.
func (t *blockTable) few(data []byte, i int) int {
	v := data[i*t.bits/8] >> (i * t.bits % 8) & byte(1<<t.bits-1)
	if t.signed {
		return int(int8(v<<4) >> 4)
	}
	return int(v)
}

// zeroAt is the zero point of a block of part p (of all rows).
func (t *blockTable) zeroAt(p, block int) int {
	switch {
	case t.zero == nil && t.packed:
		return 1 << (t.bits - 1)
	case t.zero == nil:
		return 0
	case t.packed: // parts of whole bytes
		return t.few(t.zero.Data[p*((t.blocks*t.bits+7)/8):], block)
	}
	return t.few(t.zero.Data, p*t.blocks+block)
}

// inside is row i counted from the front, and whether there is such a row.
func (t *blockTable) inside(i int64) (int, bool) {
	if i < 0 {
		i += int64(t.R)
	}
	return int(i), i >= 0 && i < int64(t.R)
}

// row calls set with every value of row i less its zero point, and its scale.
func (t *blockTable) row(i int64, set func(k int, q, scale float64)) {
	r, ok := t.inside(i)
	for k := range t.width() {
		if !ok {
			set(k, 0, 0)
			continue
		}
		p, b := r*t.P+k/t.n, k%t.n/t.block
		set(k, float64(t.few(t.data.Data, p*t.n+k%t.n)-t.zeroAt(p, b)), t.scale.Float(p*t.blocks+b))
	}
}

// row32 writes row i.
func (t *blockTable) row32(i int64, y []float32) {
	r, ok := t.inside(i)
	if !ok {
		clear(y)
		return
	}
	scale := t.scale.Float32s()
	for q := range t.P {
		p := r*t.P + q
		for b := range t.blocks {
			z, s := t.zeroAt(p, b), scale[p*t.blocks+b]
			for k := b * t.block; k < min((b+1)*t.block, t.n); k++ {
				y[q*t.n+k] = float32(t.few(t.data.Data, p*t.n+k)-z) * s
			}
		}
	}
}
