package exec

import (
	"fmt"
	"sort"
	"strings"
	"sync"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// Config are the settings of a session; the zero value is what most callers want.
type Config struct {
	State    []graph.State // initialisers that an output replaces after every run
	Profile  bool          // measure every node
	MaxPlans int           // shapes whose plans are kept; 0 is 16
	NoPasses bool          // run the graph as it is, node by node
}

// Session runs one graph. It is safe for concurrent use; runs take turns.
// Plans for the shapes seen lately are kept.
type Session struct {
	mu    sync.Mutex
	cfg   Config
	g     *graph.Graph // states moved from Inits to Inputs
	user  int          // inputs that the caller feeds
	outs  int          // outputs that the caller gets
	state []*tensor.Tensor
	names map[string]int // state by the initialiser's name
	plans map[string]*plan
	order []string // plan keys, least recently used first
	key   []byte
	feeds []*tensor.Tensor
	debug debug
}

// New checks g and returns a session. Operators that are not supported are an error here, not at the first run.
func New(g *graph.Graph, cfg Config) (*Session, error) {
	if err := g.Verify(); err != nil {
		return nil, err
	}
	if cfg.MaxPlans == 0 {
		cfg.MaxPlans = 16
	}
	c, m := g.Clone()
	s := &Session{cfg: cfg, g: c, user: len(c.Inputs), outs: len(c.Outputs),
		names: map[string]int{}, plans: map[string]*plan{}, debug: debugFromEnv()}
	if err := supported(c); err != nil {
		return nil, err
	}
	for i, st := range cfg.State {
		in, out := m[st.In], m[st.Out]
		if in == nil || out == nil || in.Const == nil {
			return nil, fault.New(fault.Mismatch, "exec", "state %d does not tie an initialiser to an output", i)
		}
		s.names[in.Name] = i
		s.state = append(s.state, in.Const.Clone())
		in.Const = nil
		c.Inits = without(c.Inits, in)
		c.Inputs = append(c.Inputs, in)
		c.Outputs = append(without(c.Outputs, out), out)
	}
	s.outs = len(c.Outputs) - len(cfg.State)
	s.feeds = make([]*tensor.Tensor, len(c.Inputs))
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
	p, err := s.run(in)
	if err != nil {
		return nil, err
	}
	out := make([]*tensor.Tensor, s.outs)
	for i := range out {
		out[i] = p.out[i].Clone()
	}
	return out, nil
}

// RunInto is Run with outputs that the caller provides; it allocates nothing once the shapes were seen.
func (s *Session) RunInto(in, out []*tensor.Tensor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.run(in)
	if err != nil {
		return err
	}
	if len(out) != s.outs {
		return fault.New(fault.Mismatch, "exec", "%d outputs are taken, the graph has %d", len(out), s.outs)
	}
	for i, t := range out {
		if t.DType != p.out[i].DType || !t.Shape.Equal(p.out[i].Shape) {
			return fault.New(fault.Mismatch, "output "+s.g.Outputs[i].Name, "it is %s %s, not %s %s",
				p.out[i].DType, p.out[i].Shape, t.DType, t.Shape)
		}
		copy(t.Data, p.out[i].Data)
	}
	return nil
}

func (s *Session) run(in []*tensor.Tensor) (*plan, error) {
	if len(in) != s.user {
		return nil, fault.New(fault.Mismatch, "graph "+s.g.Name, "%d inputs are fed, the graph has %d", len(in), s.user)
	}
	copy(s.feeds, in)
	copy(s.feeds[s.user:], s.state)
	p, err := s.planFor(s.feeds)
	if err != nil {
		return nil, err
	}
	if err := p.run(s.feeds); err != nil {
		return nil, err
	}
	for i, t := range s.state {
		copy(t.Data, p.out[s.outs+i].Data)
	}
	return p, nil
}

// planFor finds or makes the plan for the shapes of feeds.
func (s *Session) planFor(feeds []*tensor.Tensor) (*plan, error) {
	s.key = s.key[:0]
	for i, t := range feeds[:s.user] {
		if t == nil {
			return nil, fault.New(fault.Mismatch, "input "+s.g.Inputs[i].Name, "it is not fed")
		}
		s.key = append(s.key, byte(t.DType), byte(len(t.Shape)))
		for _, d := range t.Shape {
			s.key = append(s.key, byte(d), byte(d>>8), byte(d>>16), byte(d>>24), byte(d>>32), byte(d>>40))
		}
	}
	if p, ok := s.plans[string(s.key)]; ok {
		return p, nil
	}
	dims, err := bindings(s.g, feeds)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(s.g, dims, s)
	if err != nil {
		return nil, err
	}
	if len(s.order) == s.cfg.MaxPlans {
		s.plans[s.order[0]].free()
		delete(s.plans, s.order[0])
		s.order = s.order[1:]
	}
	k := string(s.key)
	s.plans[k], s.order = p, append(s.order, k)
	return p, nil
}

// Close releases the arenas.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.plans {
		p.free()
	}
	s.plans, s.order = map[string]*plan{}, nil
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
	ArenaBytes   int
	ConstBytes   int
	Flops        int64
	IntegerFlops int64
}

// Plan returns the report for inputs of these shapes (dtypes as the graph declares).
func (s *Session) Plan(in ...*tensor.Tensor) (Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(in) != s.user {
		return Report{}, fault.New(fault.Mismatch, "graph "+s.g.Name, "%d inputs are fed, the graph has %d", len(in), s.user)
	}
	copy(s.feeds, in)
	copy(s.feeds[s.user:], s.state)
	p, err := s.planFor(s.feeds)
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
	Flops int64 // per run
	Bytes int64 // read and written per run
}

// Profile returns the rows of the last used plan, slowest first; empty unless Config.Profile is set.
func (s *Session) Profile() []ProfileRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []ProfileRow
	for _, p := range s.plans {
		for i := range p.steps {
			if st := &p.steps[i]; st.runs > 0 && s.cfg.Profile {
				rows = append(rows, ProfileRow{st.node.Name, st.node.FullOp(), st.runs, st.nanos, st.flops, st.bytes})
			}
		}
	}
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
