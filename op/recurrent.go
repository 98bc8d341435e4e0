package op

import (
	"slices"
	"strings"

	"muster/graph"
	"muster/tensor"
)

// LSTM, GRU and RNN read X [T, B, I] (with layout 1 [B, T, I]) step by step in D directions with a state of H
// elements: W [D, G H, I], R [D, G H, H], B [D, 2 G H] (input then recurrent), sequence_lens [B], initial_h [D, B, H],
// and for the LSTM initial_c and peepholes P [D, 3 H]. G gates lie one behind the other, in ONNX's order.
// Y is [T, D, B, H], 0 behind the end of a sequence; Y_h and Y_c are the states after the last step of each.
// A reversed sequence begins at its own end.
//
// Activations of gates clip their argument to [-clip, clip]. The gradient is that of the body: T steps written out.
func recurrentOp(cell string, maxIn, maxOut int, attrs string) Op {
	return Op{
		Name: cell, Since: 7, MinIn: 3, MaxIn: maxIn, MinOut: 1, MaxOut: maxOut, Attrs: "activation_alpha activation_beta activations clip direction hidden_size layout" + attrs,
		Infer: func(c *InferCall) error {
			for i, v := range c.In {
				if v == nil || i == 4 {
					continue
				}
				if err := firstErr(c.wantFloat(i)); err != nil {
					return err
				}
				if v.DType != c.In[0].DType {
					return c.Errorf("input %d is %s, X is %s", i, v.DType, c.In[0].DType)
				}
			}
			if err := c.wantType(4, tensor.Int32, tensor.Int64); err != nil {
				return err
			}
			r, err := recurrentOf(c.Node, sizesOf(c.In))
			if err != nil {
				return err
			}
			dim := func(n, axis int) graph.Dim {
				if s := c.In[0].Shape; n < 0 && s != nil {
					return s[axis]
				}
				return graph.Dim{Size: n}
			}
			B, T, d, h := dim(r.B, 1), dim(r.T, 0), graph.Dim{Size: r.D}, graph.Dim{Size: r.H}
			if r.batchFirst {
				B, T = dim(r.B, 0), dim(r.T, 1)
				c.Set(0, c.In[0].DType, []graph.Dim{B, T, d, h})
				c.Set(1, c.In[0].DType, []graph.Dim{B, d, h})
				c.Set(2, c.In[0].DType, []graph.Dim{B, d, h})
				return nil
			}
			c.Set(0, c.In[0].DType, []graph.Dim{T, d, B, h})
			c.Set(1, c.In[0].DType, []graph.Dim{d, B, h})
			c.Set(2, c.In[0].DType, []graph.Dim{d, B, h})
			return nil
		},
		Ref:     recurrentRef,
		Body:    recurrentBody,
		Prepare: recurrentKernel,
		Flops: func(in, out []*graph.Value) int64 {
			x, ok1 := in[0].Static()
			w, ok2 := in[1].Static()
			r, ok3 := in[2].Static()
			if !ok1 || !ok2 || !ok3 {
				return 0
			}
			return 2 * int64(x[0]*x[1]) * int64(w.Elems()+r.Elems())
		},
	}
}

var (
	opLSTM = recurrentOp("LSTM", 8, 3, " input_forget")
	opGRU  = recurrentOp("GRU", 6, 2, " linear_before_reset")
	opRNN  = recurrentOp("RNN", 6, 2, "")
)

// recurrent is a node with its sizes; -1 is a size that is not known.
type recurrent struct {
	cell          string
	G             int // gates
	T, B, I, H, D int
	batchFirst    bool
	reverse       [2]bool // by direction
	clip          float64 // 0: none
	acts          [2][]cellAct
	coupled       bool // the forget gate is one minus the input gate
	linear        bool // GRU: the reset gate is applied behind the product
}

// sizesOf are the shapes of values, nil where the rank is not known.
func sizesOf(vs []*graph.Value) [][]int {
	out := make([][]int, len(vs))
	for i, v := range vs {
		if v == nil || v.Shape == nil {
			continue
		}
		out[i] = []int{}
		for _, d := range v.Shape {
			out[i] = append(out[i], d.Size)
		}
	}
	return out
}

func shapesOf(ts []*tensor.Tensor) [][]int {
	out := make([][]int, len(ts))
	for i, t := range ts {
		if t != nil {
			out[i] = append([]int{}, t.Shape...)
		}
	}
	return out
}

// recurrentOf reads the attributes and checks the shapes against each other.
func recurrentOf(n *graph.Node, in [][]int) (*recurrent, error) {
	c := &InferCall{Node: n}
	r := &recurrent{cell: n.Op, T: -1, B: -1, I: -1, H: -1, D: 1, batchFirst: n.Int("layout", 0) != 0,
		clip: float64(n.Float("clip", 0)), coupled: n.Int("input_forget", 0) != 0, linear: n.Int("linear_before_reset", 0) != 0}
	r.G = map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[n.Op]
	switch d := n.Str("direction", "forward"); d {
	case "forward":
	case "reverse":
		r.reverse[0] = true
	case "bidirectional":
		r.D, r.reverse[1] = 2, true
	default:
		return nil, c.unsupported("direction %q is not supported", d)
	}
	if len(in[2]) == 3 {
		r.H = in[2][2]
	}
	if h := n.Int("hidden_size", int64(r.H)); r.H < 0 && h > 0 && h < maxAxis {
		r.H = int(h)
	} else if h != int64(r.H) {
		return nil, c.Errorf("hidden_size is %d, R has %d columns", h, r.H)
	}
	if len(in[0]) == 3 {
		r.T, r.B, r.I = in[0][0], in[0][1], in[0][2]
		if r.batchFirst {
			r.T, r.B = r.B, r.T
		}
	}
	for i, want := range r.inputShapes()[:len(in)] {
		fits := func(s, w int) bool { return s == w || s < 0 || w < 0 }
		if s := in[i]; s != nil && !slices.EqualFunc(s, want, fits) {
			return nil, c.Errorf("input %d is %v, want %v", i, s, want)
		}
	}
	var err error
	r.acts, err = activationsOf(n, r.D)
	return r, err
}

// inputShapes are the shapes of X, W, R, B, sequence_lens, initial_h, initial_c and P; sizes below 0 are not known.
func (r *recurrent) inputShapes() [][]int {
	gh := r.G * r.H
	x, state := []int{r.T, r.B, r.I}, []int{r.D, r.B, r.H}
	if r.batchFirst {
		x, state = []int{r.B, r.T, r.I}, []int{r.B, r.D, r.H}
	}
	return [][]int{x, {r.D, gh, r.I}, {r.D, gh, r.H}, {r.D, 2 * gh}, {r.B}, state, state, {r.D, 3 * r.H}}
}

// activationsOf reads the activations: three per direction for the LSTM, two for the GRU, one for the RNN. alpha
// and beta go in order to those that have one.
func activationsOf(n *graph.Node, D int) (acts [2][]cellAct, err error) {
	c := &InferCall{Node: n}
	names := map[string][]string{"LSTM": {"Sigmoid", "Tanh", "Tanh"}, "GRU": {"Sigmoid", "Tanh"}, "RNN": {"Tanh"}}[n.Op]
	per := len(names)
	if D == 2 {
		names = append(names, names...)
	}
	if a := n.Attr("activations"); a != nil {
		names = nil
		for _, s := range a.Strings {
			names = append(names, string(s))
		}
	}
	if len(names) != per*D {
		return acts, c.Errorf("%d activations, want %d", len(names), per*D)
	}
	var alpha, beta []float32
	if a := n.Attr("activation_alpha"); a != nil {
		alpha = a.Floats
	}
	if a := n.Attr("activation_beta"); a != nil {
		beta = a.Floats
	}
	next := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return float64(v)
	}
	for i, name := range names {
		f, ok := cellActs[strings.ToLower(name)]
		if !ok {
			return acts, c.unsupported("activation %q is not supported", name)
		}
		a := cellAct{form: f}
		if f.alpha {
			a.alpha = next(&alpha, f.a)
		}
		if f.beta {
			a.beta = next(&beta, f.b)
		}
		acts[i/per] = append(acts[i/per], a)
	}
	return acts, nil
}

// xRow and yRow are the rows of X and Y (of I and H elements) of one step and sequence.
func (r *recurrent) xRow(t, b int) int {
	if r.batchFirst {
		return b*r.T + t
	}
	return t*r.B + b
}

func (r *recurrent) yRow(t, d, b int) int {
	if r.batchFirst {
		return (b*r.T+t)*r.D + d
	}
	return (t*r.D+d)*r.B + b
}

// stateRow is the row of an initial or a last state.
func (r *recurrent) stateRow(d, b int) int {
	if r.batchFirst {
		return b*r.D + d
	}
	return d*r.B + b
}

// steps is the length of sequence b.
func (r *recurrent) steps(lens *tensor.Tensor, b int) int {
	if lens == nil {
		return r.T
	}
	return int(index(lens, b))
}

// at is the time of step s of a sequence of n steps.
func (r *recurrent) at(d, s, n int) int {
	if r.reverse[d] {
		return n - 1 - s
	}
	return s
}

// check looks at what only the data can show.
func (r *recurrent) check(in []*tensor.Tensor) error {
	if lens := optional(in, 4); lens != nil {
		for b := 0; b < r.B; b++ {
			if n := index(lens, b); n < 0 || n > int64(r.T) {
				return (&Call{}).errorf("a sequence of %d of %d steps", n, r.T)
			}
		}
	}
	return nil
}
