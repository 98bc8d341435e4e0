package exec

import (
	"fmt"
	"sort"
	"strings"
	"sync"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// Config are the settings of a session; the zero value is what most callers want.
type Config struct {
	State    []graph.State // initialisers that an output replaces after every run; a run that fails may have replaced some
	Take     bool          // the states take the initialisers over instead of copying them; the caller does not use the graph again
	Profile  bool          // measure every node
	MaxPlans int           // shapes whose plans are kept; 0 is 16
	NoPasses bool          // run the graph as it is, node by node
	MaxSteps int           // iterations that the loops of one run may take together; 0 is 2^24
}

// maxSteps is the default of Config.MaxSteps.
const maxSteps = 1 << 24

// Session runs one graph. It is safe for concurrent use; runs take turns.
// Plans for the shapes seen lately are kept.
type Session struct {
	mu    sync.Mutex
	r     *runner // of the graph with states moved from Inits to Inputs
	user  int     // inputs that the caller feeds
	outs  int     // outputs that the caller gets
	state []*tensor.Tensor
	names map[string]int // state by the initialiser's name
	feeds []*tensor.Tensor
	step  uint64 // runs so far
}

// New checks g and returns a session. Operators that are not supported are an error here, not at the first run.
func New(g *graph.Graph, cfg Config) (*Session, error) {
	if err := g.Verify(); err != nil {
		return nil, err
	}
	if cfg.MaxPlans == 0 {
		cfg.MaxPlans = 16
	}
	if cfg.MaxSteps == 0 {
		cfg.MaxSteps = maxSteps
	}
	c, m := g.Clone()
	if err := op.InlineFunctions(c); err != nil {
		return nil, err
	}
	s := &Session{user: len(c.Inputs), names: map[string]int{}}
	for i, st := range cfg.State {
		in, out := m[st.In], m[st.Out]
		if in == nil || out == nil || in.Const == nil {
			return nil, fault.New(fault.Mismatch, "exec", "state %d does not tie an initialiser to an output", i)
		}
		s.names[in.Name] = i
		t := in.Const
		if !cfg.Take {
			t = t.Clone()
		}
		s.state = append(s.state, t)
		in.Const = nil
		c.Inits = without(c.Inits, in)
		c.Inputs = append(c.Inputs, in)
		c.Outputs = append(without(c.Outputs, out), out)
	}
	if err := op.Lift(c); err != nil {
		return nil, err
	}
	if err := supported(c); err != nil {
		return nil, err
	}
	s.outs = len(c.Outputs) - len(cfg.State)
	s.feeds = make([]*tensor.Tensor, len(c.Inputs))
	s.r = newRunner(c, &env{cfg: cfg, debug: debugFromEnv()}, 0)
	s.r.root = true
	return s, nil
}

func without(vs []*graph.Value, v *graph.Value) []*graph.Value {
	out := vs[:0:0]
	for _, w := range vs {
		if w != v {
			out = append(out, w)
		}
	}
	return out
}

// Run feeds in, in the order of the graph's inputs, and returns fresh outputs.
func (s *Session) Run(in ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*tensor.Tensor, s.outs)
	res, err := s.run(in, out, func(p *plan) {
		for i := range p.direct {
			if p.direct[i].tensors != nil {
				out[i] = tensor.New(p.out[i].DType, p.out[i].Shape...)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for i, t := range out {
		if t == nil || !same(t.Data, res[i].Data) {
			out[i] = res[i].Clone()
		}
	}
	return out, nil
}

// RunInto is Run with outputs that the caller provides; it allocates nothing once the shapes were seen. Outputs may be
// written before the run ends, so what they hold after an error is not defined.
func (s *Session) RunInto(in, out []*tensor.Tensor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	res, err := s.run(in, out, nil)
	if err != nil {
		return err
	}
	if len(out) != s.outs {
		return fault.New(fault.Mismatch, "exec", "%d outputs are taken, the graph has %d", len(out), s.outs)
	}
	for i, t := range out {
		if t == nil {
			return fault.New(fault.Mismatch, "output "+s.r.g.Outputs[i].Name, "there is no tensor to take it")
		}
		if t.DType != res[i].DType || !t.Shape.Equal(res[i].Shape) {
			return fault.New(fault.Mismatch, "output "+s.r.g.Outputs[i].Name, "it is %s %s, not %s %s",
				res[i].DType, res[i].Shape, t.DType, t.Shape)
		}
		if t.DType.IsContainer() {
			t.Items = res[i].Clone().Items
			continue
		}
		if !same(t.Data, res[i].Data) {
			copy(t.Data, res[i].Data)
		}
	}
	return nil
}

// run returns the outputs: in out where the plan could write them there, else in memory of the session. before sees the plan.
func (s *Session) run(in, out []*tensor.Tensor, before func(*plan)) ([]*tensor.Tensor, error) {
	if err := s.fed(in); err != nil {
		return nil, err
	}
	s.r.env.steps = s.r.env.cfg.MaxSteps
	p, err := s.r.planFor(s.feeds, nil)
	if err != nil {
		return nil, err
	}
	if before != nil {
		before(p)
	}
	p.aim(out, s.feeds)
	res, err := p.run(s.feeds, s.step)
	if err != nil {
		return nil, err
	}
	s.step++
	for i, t := range s.state {
		n := res[s.outs+i]
		if !n.Shape.Equal(t.Shape) || n.DType != t.DType {
			return nil, fault.New(fault.Mismatch, "output "+s.r.g.Outputs[s.outs+i].Name, "the state is %s %s, its next value %s %s", t.DType, t.Shape, n.DType, n.Shape)
		}
	}
	for i, t := range s.state {
		if n := res[s.outs+i].Data; len(n) > 0 && &n[0] != &t.Data[0] { // else it was written in place
			copy(t.Data, n)
		}
	}
	return res, nil
}

// fed sets s.feeds to the inputs and the states.
func (s *Session) fed(in []*tensor.Tensor) error {
	if len(in) != s.user {
		return fault.New(fault.Mismatch, "graph "+s.r.g.Name, "%d inputs are fed, the graph has %d", len(in), s.user)
	}
	copy(s.feeds, in)
	copy(s.feeds[s.user:], s.state)
	return nil
}

// Close releases the arenas.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.free()
}

// StateOf returns a copy of the state tied to the initialiser with this name, nil if there is none.
func (s *Session) StateOf(name string) *tensor.Tensor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.names[name]; ok {
		return s.state[i].Clone()
	}
	return nil
}

// SetState replaces the state tied to the initialiser with this name (a resumed checkpoint).
func (s *Session) SetState(name string, t *tensor.Tensor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.names[name]
	if !ok {
		return fault.New(fault.NotFound, "state "+name, "the graph has no such state")
	}
	if w := s.state[i]; w.DType != t.DType || !w.Shape.Equal(t.Shape) {
		return fault.New(fault.Mismatch, "state "+name, "it is %s %s, not %s %s", w.DType, w.Shape, t.DType, t.Shape)
	}
	copy(s.state[i].Data, t.Data)
	return nil
}

// Report describes the plan for one set of shapes.
type Report struct {
	Nodes        int            // nodes after the passes
	Integer      int            // nodes that run on integer kernels
	Operators    map[string]int // operators after the passes, with counts
	Reference    map[string]int // those without a kernel for their shapes
	IntegerOps   map[string]int // integer operators with counts
	Later        int            // nodes that are planned when they run, because shapes before them depend on data
	ArenaBytes   int
	ConstBytes   int
	Flops        int64
	IntegerFlops int64
}

// Plan returns the report for inputs of these shapes (dtypes as the graph declares).
func (s *Session) Plan(in ...*tensor.Tensor) (Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fed(in); err != nil {
		return Report{}, err
	}
	p, err := s.r.planFor(s.feeds, nil)
	if err != nil {
		return Report{}, err
	}
	return p.report, nil
}

// ProfileRow is the time of one node over all runs.
type ProfileRow struct {
	Node  string
	Op    string
	Runs  int
	Nanos int64
	Least int64 // the fastest run
	Flops int64 // per run
	Bytes int64 // read and written per run
}

// Profile returns the rows of all plans that are kept, slowest first; empty unless Config.Profile is set.
func (s *Session) Profile() []ProfileRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []ProfileRow
	s.r.each(func(p *plan) {
		for i := range p.steps {
			if st := &p.steps[i]; st.runs > 0 {
				rows = append(rows, ProfileRow{st.node.Name, st.node.FullOp(), st.runs, st.nanos, st.least, st.flops, st.bytes})
			}
		}
	})
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Nanos > rows[j].Nanos })
	return rows
}

// String formats a report in one line.
func (r Report) String() string {
	var ref []string
	for k, n := range r.Reference {
		ref = append(ref, fmt.Sprintf("%s x%d", k, n))
	}
	sort.Strings(ref)
	return fmt.Sprintf("%d nodes, %d on integer kernels, %d bytes arena, %d FLOPs, reference: %s",
		r.Nodes, r.Integer, r.ArenaBytes, r.Flops, strings.Join(ref, ", "))
}
