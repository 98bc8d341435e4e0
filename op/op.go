// Package op is the table of operators: one file per operator (or per family of
// operators that differ in one scalar function), one line in table.go.
//
// An operator has a shape rule (Infer), a meaning (Ref, a plain loop; or Body,
// other operators), a derivative (Grad, more operators) and, where it pays, a
// fast form (Prepare). Nothing else in Muster knows what an operator does.
package op

import (
	"slices"
	"strings"
	"sync"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// Op is one row of the table.
type Op struct {
	Domain string
	Name   string
	Since  int // first opset version this row is valid for; the newest row not above the model's opset is used

	MinIn, MaxIn   int // MaxIn -1: any number
	MinOut, MaxOut int // MaxOut -1: any number

	// Attrs names the attributes that are understood, separated by spaces. Any other is an
	// error: ignoring it would give another result than the file asks for.
	Attrs string

	// Defaults are the attributes of a private operator with their defaults, for its
	// exported function. Floats become references, the others are fixed in the body.
	Defaults []graph.Attr

	// Infer sets the types of c.Out from c.In.
	Infer func(c *InferCall) error

	// Ref computes the outputs, in any numeric dtype that Infer lets through. It is the meaning
	// of the operator, written to be read; outputs are allocated and zero.
	Ref func(c *Call) error

	// Body writes the operator as other operators (used when Ref is nil, and to export private operators).
	Body func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value

	// Grad returns the gradient of the loss by each input (nil: none).
	Grad func(c *GradCall) []*graph.Value

	// NoGrad says why there is no gradient, for operators that have none ("integer output", ...).
	NoGrad string

	// Prepare returns a fast form for these shapes and dtypes, or false to use Ref.
	Prepare func(p *Prep) (Kernel, bool)

	// View says that output 0 has the bytes of input 0 (Reshape, Identity, ...).
	View bool

	// Dynamic says that output shapes may depend on the data of inputs (NonZero, Unique, ...): where
	// Infer left a dimension open, Ref sets Shape and Data of that output itself.
	Dynamic bool

	// Random says that the outputs are drawn from Call.Step: they are no constants.
	Random bool

	// Types says that inputs may be sequences or optionals (tensor.Sequence, tensor.Optional).
	Types bool

	// Stored says that inputs may be of types that are stored only (tensor.DType.Stored).
	Stored bool

	// Flops returns the floating-point (or integer) operations of one call; nil: one per output element.
	Flops func(in, out []*graph.Value) int64
}

// InferCall is what a shape rule sees and sets.
type InferCall struct {
	Node *graph.Node
	In   []*graph.Value // nil: absent
	Out  []*graph.Value // nil: unused

	*inference
	asked []int // inputs whose values the rule wanted and that are not known
}

// Const returns the constant value of input i, nil if it is not known yet.
func (c *InferCall) Const(i int) *tensor.Tensor {
	if i >= len(c.In) || c.In[i] == nil {
		return nil
	}
	if c.In[i].Const == nil {
		c.asked = append(c.asked, i)
	}
	return c.In[i].Const
}

// Set gives output i a dtype and shape; a nil shape is an unknown rank.
func (c *InferCall) Set(i int, d tensor.DType, shape []graph.Dim) {
	if i < len(c.Out) && c.Out[i] != nil {
		c.Out[i].DType = d
		c.Out[i].Shape = nil
		if shape != nil {
			c.Out[i].Shape = append([]graph.Dim{}, shape...)
		}
	}
}

// Errorf returns a mismatch at the node.
func (c *InferCall) Errorf(format string, args ...any) error {
	return fault.New(fault.Mismatch, c.Node.Place(), format, args...)
}

// Call is one evaluation by the reference.
type Call struct {
	Node *graph.Node
	In   []*tensor.Tensor // nil: absent
	Out  []*tensor.Tensor // nil: unused
	Step uint64           // counts the runs of a session; random operators draw from it and their seed

	// Sub evaluates the subgraph of an attribute (control flow). The inputs are followed by the values that op.Lift
	// found captured. iter numbers the calls of one evaluation. Outputs are valid until the next call.
	Sub func(attr string, in []*tensor.Tensor, iter int) ([]*tensor.Tensor, error)

	// Steps is how many iterations loops may still take in this run, over all loops; nil: no limit.
	Steps *int
}

// SubStep is the step of evaluation iter of a subgraph: other draws in every iteration, the same ones in the same run.
func SubStep(step uint64, iter int) uint64 { return step + uint64(iter)*0x9e3779b97f4a7c15 }

// GradCall is what a gradient rule sees: the forward node with its inferred
// shapes, and the gradient of the loss by each output (nil where the loss does
// not depend on it). The rule appends nodes to B.
type GradCall struct {
	B    *graph.Builder
	Node *graph.Node
	In   []*graph.Value
	Out  []*graph.Value
	DOut []*graph.Value
	Need []bool // which inputs need a gradient; a rule may skip the others

	// Of control flow: what the subgraphs read from outside (its gradients follow those of the inputs), which of it needs a
	// gradient, and how a subgraph that puts out the gradients of another by wrt is made.
	Captured     []*graph.Value
	NeedCaptured []bool
	Branch       func(g *graph.Graph, wrt []*graph.Value) (*graph.Graph, error)

	Err error // set by Fail
}

// Fail records that this node has no gradient for a reason that only the rule can see.
func (c *GradCall) Fail(format string, args ...any) {
	if c.Err == nil {
		c.Err = fault.New(fault.Unsupported, c.Node.Place(), format, args...)
	}
}

// Prep is what a kernel choice sees: concrete shapes; Data is set for constants only.
type Prep struct {
	Node *graph.Node
	In   []*tensor.Tensor
	Out  []*tensor.Tensor
}

// Kernel is a prepared call. Run must not allocate and must split work by shape only.
type Kernel struct {
	Run     func(in, out []*tensor.Tensor, scratch []byte)
	Check   func(in []*tensor.Tensor) error // data that Run relies on (indices in range); nil: nothing to check
	Scratch int                             // bytes
	Over    int                             // 1 + index of an input that output 0 may overwrite; 0: none
	Same    bool                            // output k may be the memory of input k, for every output (optimizers)
	Integer bool                            // runs on integer kernels
	Step    func(step uint64)               // told the count of runs before each Run (random operators); nil: not needed
}

// byName are the table's rows by domain and name, oldest version first.
var byName = sync.OnceValue(func() map[[2]string][]*Op {
	m := map[[2]string][]*Op{}
	for i := range table {
		k := [2]string{table[i].Domain, table[i].Name}
		m[k] = append(m[k], &table[i])
	}
	for _, list := range m {
		slices.SortFunc(list, func(a, b *Op) int { return a.Since - b.Since })
	}
	return m
})

// Find returns the row for an operator at an opset version, nil if there is none.
func Find(domain, name string, version int) *Op {
	if domain == "ai.onnx" {
		domain = ""
	}
	var best *Op
	for _, o := range byName()[[2]string{domain, name}] {
		if o.Since <= version {
			best = o
		}
	}
	return best
}

// All returns the table, sorted by domain, name and version.
func All() []Op { return table }

// Of returns the row for a node of g, or an unsupported error that names it.
func Of(g *graph.Graph, n *graph.Node) (*Op, error) {
	version := 0
	if g.Model != nil {
		version = g.Model.Opsets[n.Domain]
	}
	o := Find(n.Domain, n.Op, version)
	if o == nil {
		return nil, fault.New(fault.Unsupported, n.Place(), "operator %s at opset %d is not supported", n.FullOp(), version).
			WithHint("`muster ops` lists the operators this version runs")
	}
	if len(n.Inputs) < o.MinIn || o.MaxIn >= 0 && len(n.Inputs) > o.MaxIn {
		return nil, fault.New(fault.Malformed, n.Place(), "%d inputs, want %d to %d", len(n.Inputs), o.MinIn, o.MaxIn)
	}
	for i := 0; i < o.MinIn; i++ {
		if n.Inputs[i] == nil {
			return nil, fault.New(fault.Malformed, n.Place(), "required input %d is absent", i)
		}
	}
	for i := range n.Attrs {
		if name := n.Attrs[i].Name; !slices.Contains(strings.Fields(o.Attrs), name) {
			return nil, fault.New(fault.Unsupported, n.Place(), "attribute %q is not supported", name)
		}
		if err := checkKind(n, &n.Attrs[i]); err != nil {
			return nil, err
		}
	}
	if len(n.Outputs) < o.MinOut || o.MaxOut >= 0 && len(n.Outputs) > o.MaxOut {
		return nil, fault.New(fault.Malformed, n.Place(), "%d outputs, want %d to %d", len(n.Outputs), o.MinOut, o.MaxOut)
	}
	return o, nil
}
