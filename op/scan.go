package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// Scan runs its body (state..., slice...) -> (state..., slice...) once for every index of an axis of its scan inputs.
var (
	// opScan8 has a batch axis before everything and the lengths of the sequences as input 0.
	opScan8 = Op{
		Name: "Scan", Since: 8, MinIn: 0, MaxIn: -1, MinOut: 1, MaxOut: -1, Attrs: "body num_scan_inputs directions " + captures,
		Dynamic: true,
		NoGrad:  "it would need the carried values of every iteration, which are not kept",
		Infer:   func(c *InferCall) error { return inferScan(c, 1) },
		Ref:     scan8,
	}
	opScan9 = Op{
		Name: "Scan", Since: 9, MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: -1,
		Attrs:   "body num_scan_inputs scan_input_axes scan_input_directions scan_output_axes scan_output_directions " + captures,
		Dynamic: true,
		NoGrad:  "it would need the carried values of every iteration, which are not kept",
		Infer:   func(c *InferCall) error { return inferScan(c, 0) },
		Ref:     func(c *Call) error { return scan(c) },
	}
)

// scanForm is how a Scan node divides its inputs and outputs. batch is 1 in opset 8: one more input and axis.
type scanForm struct {
	batch, states, ins, outs int
	inAxes, outAxes          []int64
	inBack, outBack          []bool
}

func scanFormOf(n *graph.Node, batch int) (f scanForm, err error) {
	ins := n.Int("num_scan_inputs", 0)
	f = scanForm{batch: batch, ins: int(ins), states: formal(n) - batch - int(ins)}
	f.outs = len(n.Outputs) - f.states
	if ins < 1 || ins > int64(len(n.Inputs)) || f.states < 0 || f.outs < 0 {
		return f, fault.New(fault.Mismatch, n.Place(), "%d scan inputs of %d inputs and %d outputs", ins, formal(n), len(n.Outputs))
	}
	for i, v := range n.Inputs[batch:] {
		if v == nil {
			return f, fault.New(fault.Malformed, n.Place(), "input %d is absent", batch+i)
		}
	}
	flags := func(attr string, count int) []bool {
		out := make([]bool, count)
		if a := n.Ints(attr); a != nil {
			if len(a) != count {
				err = fault.New(fault.Mismatch, n.Place(), "%s has %d entries, want %d", attr, len(a), count)
				return out
			}
			for i, v := range a {
				out[i] = v != 0
			}
		}
		return out
	}
	axes := func(attr string, count int) []int64 {
		a := n.Ints(attr)
		if a == nil {
			a = make([]int64, count)
		}
		if len(a) != count {
			err = fault.New(fault.Mismatch, n.Place(), "%s has %d entries, want %d", attr, len(a), count)
		}
		return a
	}
	name := "scan_input_directions"
	if batch == 1 {
		name = "directions"
	}
	f.inBack, f.outBack = flags(name, f.ins), flags("scan_output_directions", f.outs)
	f.inAxes, f.outAxes = axes("scan_input_axes", f.ins), axes("scan_output_axes", f.outs)
	return f, err
}

func inferScan(c *InferCall, batch int) error {
	f, err := scanFormOf(c.Node, batch)
	if err != nil {
		return err
	}
	var init, slices []*graph.Value
	B, T := graph.Dim{Size: -1}, graph.Dim{Size: -1}
	for i, v := range c.In[batch:formal(c.Node)] {
		w := *v
		w.Const = nil
		if batch == 1 && v.Shape != nil {
			if len(v.Shape) == 0 {
				return c.Errorf("input %d has no batch axis", 1+i)
			}
			B, w.Shape = v.Shape[0], v.Shape[1:]
		}
		if i < f.states {
			init = append(init, &w)
			continue
		}
		if w.Shape != nil {
			k, ok := axisIn(f.inAxes[i-f.states], len(w.Shape))
			if !ok {
				return c.Errorf("axis %d of scan input %d, which is %v", f.inAxes[i-f.states], i-f.states, w.Shape)
			}
			d := w.Shape[k]
			if T.Known() && d.Known() && T.Size != d.Size {
				return c.Errorf("the scan inputs have %d and %d slices", T.Size, d.Size)
			}
			if !T.Known() {
				T = d
			}
			w.Shape = append(append([]graph.Dim{}, w.Shape[:k]...), w.Shape[k+1:]...)
		}
		slices = append(slices, &w)
	}
	outs, carried, err := c.settle("body", nil, init, 0, slices...)
	if err != nil {
		return err
	}
	if len(outs) != len(c.Out) {
		return c.Errorf("body has %d outputs, want %d", len(outs), len(c.Out))
	}
	lead := []graph.Dim{B}[:batch]
	for i, v := range carried {
		c.Set(i, v.DType, withBatch(lead, v.Shape))
	}
	for i, v := range outs[f.states:] {
		if v.Shape == nil {
			c.Set(f.states+i, v.DType, nil)
			continue
		}
		k, ok := axisIn(f.outAxes[i], len(v.Shape)+1)
		if !ok {
			return c.Errorf("axis %d of scan output %d, which is %v", f.outAxes[i], i, v.Shape)
		}
		s := append(append(append([]graph.Dim{}, v.Shape[:k]...), T), v.Shape[k:]...)
		c.Set(f.states+i, v.DType, withBatch(lead, s))
	}
	return nil
}

func withBatch(lead, s []graph.Dim) []graph.Dim {
	if s == nil {
		return nil
	}
	return append(append([]graph.Dim{}, lead...), s...)
}

func scan(c *Call) error {
	f, err := scanFormOf(c.Node, 0)
	if err != nil {
		return err
	}
	carried, scans, err := c.scanOver(f, c.In[:f.states], c.In[f.states:f.states+f.ins], -1)
	if err != nil {
		return err
	}
	for i, t := range carried {
		if err := c.give(i, t); err != nil {
			return err
		}
	}
	for i := range scans {
		k := f.states + i
		if c.Out[k] == nil {
			continue
		}
		t, err := f.placed(c, i, &scans[i], c.Node.Outputs[k])
		if err != nil {
			return err
		}
		if err := c.give(k, t); err != nil {
			return err
		}
	}
	return nil
}

// scanOver runs the body over the first steps slices (-1: all) of the scan inputs.
func (c *Call) scanOver(f scanForm, init, ins []*tensor.Tensor, steps int) ([]*tensor.Tensor, []stack, error) {
	T := -1
	slices := make([]slicer, f.ins)
	for i, x := range ins {
		k, ok := axisIn(f.inAxes[i], len(x.Shape))
		if !ok {
			return nil, nil, fault.New(fault.Mismatch, c.Node.Place(), "axis %d of scan input %d, which is %s", f.inAxes[i], i, x.Shape)
		}
		if slices[i] = newSlicer(x, k); T >= 0 && T != x.Shape[k] {
			return nil, nil, fault.New(fault.Mismatch, c.Node.Place(), "the scan inputs have %d and %d slices", T, x.Shape[k])
		}
		T = x.Shape[k]
	}
	if steps >= 0 {
		T = min(T, steps)
	}
	s := newStates(f.states)
	copy(s.cur, init)
	scans := make([]stack, f.outs)
	var args []*tensor.Tensor
	for t := 0; t < T; t++ {
		if err := c.takeStep(); err != nil {
			return nil, nil, err
		}
		args = append(args[:0], s.cur...)
		for i := range slices {
			at := t
			if f.inBack[i] {
				at = T - 1 - t
			}
			args = append(args, slices[i].at(at))
		}
		out, err := c.sub("body", args, t, f.states+f.outs)
		if err != nil {
			return nil, nil, err
		}
		for i := range scans {
			if err := scans[i].push(c, out[f.states+i]); err != nil {
				return nil, nil, err
			}
		}
		for i := range s.cur {
			if err := s.set(c, i, out[i]); err != nil {
				return nil, nil, err
			}
		}
		if s.turn(); t == 0 {
			clear(s.next) // the first ones belong to others
		}
	}
	return s.cur, scans, nil
}

// placed is a scan output with its axis where the node wants it.
func (f scanForm) placed(c *Call, i int, s *stack, v *graph.Value) (*tensor.Tensor, error) {
	if f.outBack[i] {
		s.reverse()
	}
	if s.n == 0 && len(v.Shape) > 0 { // nothing was made: the shape is what is known of it
		t := &tensor.Tensor{DType: v.DType}
		for _, d := range v.Shape {
			t.Shape = append(t.Shape, max(d.Size, 0))
		}
		if len(t.Shape) > 0 {
			if k, ok := axisIn(f.outAxes[i], len(t.Shape)); ok {
				t.Shape[k] = 0
			}
		}
		return t, nil
	}
	t := s.tensor(v)
	k, ok := axisIn(f.outAxes[i], len(t.Shape))
	if !ok {
		return nil, fault.New(fault.Mismatch, c.Node.Place(), "axis %d of scan output %d, which is %s", f.outAxes[i], i, t.Shape)
	}
	return moveFirst(t, k), nil
}

func (s *stack) reverse() {
	size := 0
	if s.n > 0 {
		size = len(s.b) / s.n
	}
	tmp := make([]byte, size)
	for i, j := 0, s.n-1; i < j; i, j = i+1, j-1 {
		a, b := s.b[i*size:(i+1)*size], s.b[j*size:(j+1)*size]
		copy(tmp, a)
		copy(a, b)
		copy(b, tmp)
	}
}

// moveFirst moves axis 0 to axis k.
func moveFirst(t *tensor.Tensor, k int) *tensor.Tensor {
	if k == 0 {
		return t
	}
	out := &tensor.Tensor{DType: t.DType, Data: tensor.Alloc(len(t.Data))}
	out.Shape = append(append(append(tensor.Shape{}, t.Shape[1:k+1]...), t.Shape[0]), t.Shape[k+1:]...)
	n, outer := t.Shape[0], tensor.Shape(t.Shape[1:k+1]).Elems()
	inner := t.DType.Bytes(tensor.Shape(t.Shape[k+1:]).Elems())
	for i := 0; i < n; i++ {
		for o := 0; o < outer; o++ {
			copy(out.Data[(o*n+i)*inner:(o*n+i+1)*inner], t.Data[(i*outer+o)*inner:])
		}
	}
	return out
}

// slicer cuts a tensor along one axis.
type slicer struct {
	x, out          *tensor.Tensor
	outer, n, inner int // inner in bytes
}

func newSlicer(x *tensor.Tensor, axis int) slicer {
	shape := append(append(tensor.Shape{}, x.Shape[:axis]...), x.Shape[axis+1:]...)
	s := slicer{x: x, out: tensor.New(x.DType, shape...), n: x.Shape[axis]}
	s.outer = tensor.Shape(x.Shape[:axis]).Elems()
	s.inner = x.DType.Bytes(tensor.Shape(x.Shape[axis+1:]).Elems())
	return s
}

func (s *slicer) at(i int) *tensor.Tensor {
	for o := 0; o < s.outer; o++ {
		copy(s.out.Data[o*s.inner:(o+1)*s.inner], s.x.Data[(o*s.n+i)*s.inner:])
	}
	return s.out
}

// scan8 runs every row of the batch for itself; what is behind the end of a shorter sequence is 0.
func scan8(c *Call) error {
	f, err := scanFormOf(c.Node, 1)
	if err != nil {
		return err
	}
	B := c.In[1].Shape[0]
	for i, t := range c.In[1 : 1+f.states+f.ins] {
		if len(t.Shape) == 0 || t.Shape[0] != B {
			return fault.New(fault.Mismatch, c.Node.Place(), "input %d is %s, the batch is %d", 1+i, t.Shape, B)
		}
	}
	rows := make([]stack, len(c.Out))
	for b := 0; b < B; b++ {
		steps := -1
		if l := c.In[0]; l != nil {
			if l.DType != tensor.Int64 || l.Elems() != B || l.Int64s()[b] < 0 {
				return fault.New(fault.Mismatch, c.Node.Place(), "the lengths of the sequences are %s", l)
			}
			steps = int(min(l.Int64s()[b], 1<<31))
		}
		in := make([]*tensor.Tensor, f.states+f.ins)
		for i := range in {
			x := newSlicer(c.In[1+i], 0)
			in[i] = x.at(b)
		}
		carried, scans, err := c.scanOver(f, in[:f.states], in[f.states:], steps)
		if err != nil {
			return err
		}
		for i, t := range carried {
			if err := rows[i].push(c, t); err != nil {
				return err
			}
		}
		T := in[f.states].Shape[0]
		for i := range scans {
			t := scans[i].tensor(rowOf(c.Node.Outputs[f.states+i]))
			full := &tensor.Tensor{DType: t.DType, Shape: append(tensor.Shape{T}, t.Shape[1:]...)}
			full.Data = tensor.Alloc(full.DType.Bytes(full.Elems()))
			copy(full.Data, t.Data)
			if err := rows[f.states+i].push(c, full); err != nil {
				return err
			}
		}
	}
	for i := range rows {
		if c.Out[i] == nil {
			continue
		}
		if err := c.give(i, rows[i].tensor(c.Node.Outputs[i])); err != nil {
			return err
		}
	}
	return nil
}

// rowOf is v without its first axis.
func rowOf(v *graph.Value) *graph.Value {
	w := &graph.Value{}
	if v != nil {
		*w = *v
		if len(w.Shape) > 0 {
			w.Shape = w.Shape[1:]
		}
	}
	return w
}
