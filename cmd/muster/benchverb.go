package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/internal/cpu"
	"muster/internal/feed"
	"muster/internal/kernel"
	"muster/internal/team"
	"muster/tensor"
)

// benchArgs are the settings of one measurement.
type benchArgs struct {
	feedFlags
	threads  int
	runs     int
	duration time.Duration
	profile  bool
	top      int
}

// benchmark is what was measured. Times are milliseconds.
type benchmark struct {
	File    string         `json:"file"`
	Inputs  []fed          `json:"inputs"`
	Assumed []feed.Assumed `json:"assumed"` // sizes that neither the file nor the command line gave
	Tier    string         `json:"tier"`
	Threads int            `json:"threads"`
	Seed    uint64         `json:"seed"`

	Load     float64 `json:"load_ms"`      // reading, checking and linking the file
	FirstRun float64 `json:"first_run_ms"` // planning, packing weights and the first run
	Latency  spread  `json:"latency_ms"`   // wall time of one run
	CPU      float64 `json:"cpu_ms"`       // processor time of one run, all threads, mean
	Rate     float64 `json:"runs_per_s"`

	Flops float64  `json:"gflop"`                   // of one run
	Speed float64  `json:"gflops"`                  // GFLOP/s in the fastest run
	Peak  float64  `json:"peak_gflops"`             // multiply-adds of these threads, measured now; 0: not known on this tier
	Share *float64 `json:"share_of_peak,omitempty"` // least time that the arithmetic takes at the measured peaks, over the fastest run

	Plan     exec.Report `json:"plan"`
	Resident int64       `json:"peak_resident_bytes"`

	Ops   []profiled `json:"ops,omitempty"`
	Nodes []profiled `json:"nodes,omitempty"`
}

// fed is an input as it was fed.
type fed struct {
	Name  string       `json:"name"`
	DType string       `json:"dtype"`
	Shape tensor.Shape `json:"shape"`
	From  string       `json:"from"` // "random" or a file
}

// spread describes n times.
type spread struct {
	N      int     `json:"n"`
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
}

// spreadOf takes the nearest ranks of times.
func spreadOf(times []float64) spread {
	s := append([]float64{}, times...)
	sort.Float64s(s)
	at := func(q float64) float64 { return s[min(len(s)-1, int(q*float64(len(s))))] }
	return spread{len(s), s[0], at(0.5), at(0.95)}
}

// profiled is the time of one node or of all nodes of an operator, per run.
type profiled struct {
	Node   string  `json:"node,omitempty"`
	Op     string  `json:"op"`
	Count  int     `json:"count"`
	Millis float64 `json:"ms"`
	Share  float64 `json:"share"`
	Gflops float64 `json:"gflops"` // GFLOP/s
	GBps   float64 `json:"gbps"`   // GB/s read and written
}

func benchVerb(a *app) *cobra.Command {
	b := benchArgs{}
	cmd := &cobra.Command{
		Use: "bench MODEL", Short: "Measure how fast an ONNX file runs, and where the time goes", Args: cobra.ExactArgs(1),
		Long: `Runs an ONNX file again and again and says how long it takes: latency, throughput, the share of the
arithmetic peak of this machine, memory, load time, and with --profile the time of every node.

Inputs are random but valid for the graph: indices lie inside the tables they index, masks are ones.
Dimensions that the file leaves open are given by --shape; what is not given is assumed (batch 1) and printed.`,
		Example: `  muster bench resnet50.onnx
  muster bench minilm.onnx --shape batch=1 --shape tokens=128 --profile
  muster bench minilm.onnx --shape input_ids=8x64 --threads 1 --runs 50 --json
  muster bench digits.onnx --input x=image.npy`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := b.run(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(r, func(p *printer) { r.text(p, b.top) })
		},
	}
	f := cmd.Flags()
	b.register(f)
	f.IntVar(&b.threads, "threads", 0, "threads (default: all processors)")
	f.IntVar(&b.runs, "runs", 0, "measured runs (default: as many as --duration takes)")
	f.DurationVar(&b.duration, "duration", 3*time.Second, "how long to measure")
	f.BoolVar(&b.profile, "profile", false, "measure every node as well, in runs of their own")
	f.IntVar(&b.top, "top", 15, "nodes in the printed profile; --json has all")
	return cmd
}

func (b *benchArgs) run(ctx context.Context, path string) (*benchmark, error) {
	if b.threads < 0 || b.runs < 0 || b.duration <= 0 {
		return nil, usageError{fmt.Errorf("--threads and --runs cannot be negative, and --duration must be positive")}
	}
	if b.threads > 0 {
		defer team.Resize(b.threads)()
	}
	r := &benchmark{File: path, Tier: cpu.Active().String(), Threads: team.Size(), Seed: b.Seed}
	start := time.Now()
	g, err := loadGraph(path)
	if err != nil {
		return nil, err
	}
	r.Load = millis(time.Since(start))
	in, err := r.feed(g, b.feedFlags)
	if err != nil {
		return nil, err
	}
	if err := r.measure(ctx, g, in, b); err != nil {
		return nil, fault.At(path, err)
	}
	if b.profile {
		if err := r.profileRun(ctx, g, in, b); err != nil {
			return nil, fault.At(path, err)
		}
	}
	r.Resident = peakResident()
	r.peaks()
	return r, nil
}

func (r *benchmark) feed(g *graph.Graph, f feedFlags) ([]*tensor.Tensor, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	in, assumed, err := feed.Inputs(g, c)
	if err != nil {
		return nil, fault.At(r.File, err)
	}
	r.Assumed = append([]feed.Assumed{}, assumed...)
	for i, v := range g.Inputs {
		from := "random"
		if p, ok := f.files()[v.Name]; ok {
			from = p
		}
		r.Inputs = append(r.Inputs, fed{v.Name, v.DType.String(), in[i].Shape, from})
	}
	return in, nil
}

// runner returns a function that runs s once, into outputs of its own when their shapes do not change.
func runner(s *exec.Session, in []*tensor.Tensor) (func() error, error) {
	out, err := s.Run(in...)
	if err != nil {
		return nil, err
	}
	if err := s.RunInto(in, out); fault.ClassOf(err) == fault.Mismatch { // outputs of another size in every run
		return func() error { _, err := s.Run(in...); return err }, nil
	} else if err != nil {
		return nil, err
	}
	return func() error { return s.RunInto(in, out) }, nil
}

// measure fills in the times of the first run and of many more.
func (r *benchmark) measure(ctx context.Context, g *graph.Graph, in []*tensor.Tensor, b *benchArgs) error {
	start := time.Now()
	s, err := exec.New(g, exec.Config{})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Run(in...); err != nil {
		return err
	}
	r.FirstRun = millis(time.Since(start))
	if r.Plan, err = s.Plan(in...); err != nil {
		return err
	}
	once, err := runner(s, in)
	if err != nil {
		return err
	}
	runtime.GC() // what loading left behind is not collected while runs are measured
	for start = time.Now(); time.Since(start) < b.duration/10; {
		if err := once(); err != nil {
			return err
		}
	}
	used := cpuTime()
	times, err := repeat(ctx, once, b)
	if err != nil {
		return err
	}
	r.CPU = millis(cpuTime()-used) / float64(len(times))
	r.Latency = spreadOf(times)
	total := 0.0
	for _, t := range times {
		total += t
	}
	r.Rate = 1e3 * float64(len(times)) / total
	return nil
}

// repeat returns the milliseconds of each run.
func repeat(ctx context.Context, once func() error, b *benchArgs) ([]float64, error) {
	var times []float64
	for begin := time.Now(); b.runs > 0 && len(times) < b.runs || b.runs == 0 && (len(times) < 3 || time.Since(begin) < b.duration); {
		if ctx.Err() != nil {
			return nil, fault.New(fault.Exhausted, "", "interrupted after %d runs", len(times))
		}
		start := time.Now()
		if err := once(); err != nil {
			return nil, err
		}
		times = append(times, millis(time.Since(start)))
	}
	return times, nil
}

// profileRun measures every node, in a session of its own because the clock costs time.
func (r *benchmark) profileRun(ctx context.Context, g *graph.Graph, in []*tensor.Tensor, b *benchArgs) error {
	s, err := exec.New(g, exec.Config{Profile: true})
	if err != nil {
		return err
	}
	defer s.Close()
	once, err := runner(s, in)
	if err != nil {
		return err
	}
	if _, err := repeat(ctx, once, b); err != nil {
		return err
	}
	rows := s.Profile()
	total := 0.0
	for _, p := range rows {
		total += float64(p.Nanos) / float64(p.Runs)
	}
	byOp := map[string]*profiled{}
	work := map[string][2]float64{}
	for _, p := range rows {
		ns := float64(p.Nanos) / float64(p.Runs)
		n := profiled{p.Node, p.Op, 1, ns / 1e6, ns / total, float64(p.Flops) / ns, float64(p.Bytes) / ns}
		r.Nodes = append(r.Nodes, n)
		o := byOp[p.Op]
		if o == nil {
			o = &profiled{Op: p.Op}
			byOp[p.Op] = o
		}
		o.Count, o.Millis, o.Share = o.Count+1, o.Millis+n.Millis, o.Share+n.Share
		w := work[p.Op]
		work[p.Op] = [2]float64{w[0] + float64(p.Flops), w[1] + float64(p.Bytes)}
	}
	for k, o := range byOp {
		o.Gflops, o.GBps = work[k][0]/(o.Millis*1e6), work[k][1]/(o.Millis*1e6)
		r.Ops = append(r.Ops, *o)
	}
	sort.Slice(r.Ops, func(i, j int) bool { return r.Ops[i].Millis > r.Ops[j].Millis })
	return nil
}

// peaks compares the fastest run with the arithmetic peak: float work at the peak of
// multiply-adds, integer work at the peak of integer products.
func (r *benchmark) peaks() {
	const probe = 100 * time.Millisecond
	n := float64(min(r.Threads, runtime.NumCPU()))
	r.Peak = n * kernel.PeakFlops(probe) / 1e9
	r.Flops = float64(r.Plan.Flops) / 1e9
	r.Speed = r.Flops / r.Latency.Min * 1e3
	if r.Peak == 0 {
		return
	}
	least := (r.Flops - float64(r.Plan.IntegerFlops)/1e9) / r.Peak
	if r.Plan.IntegerFlops > 0 {
		p := n * kernel.PeakInt8(probe) / 1e9
		if p == 0 {
			return
		}
		least += float64(r.Plan.IntegerFlops) / 1e9 / p
	}
	share := least * 1e3 / r.Latency.Min
	r.Share = &share
}

func (r *benchmark) text(p *printer, top int) {
	p.line("%s on %d threads, %s kernels", r.File, r.Threads, r.Tier)
	for _, v := range r.Inputs {
		p.line("input   %s %s %s, %s", v.Name, v.DType, v.Shape, v.From)
	}
	for _, d := range r.Assumed {
		name := d.Name
		if name == "" {
			name = fmt.Sprintf("axis %d of %s", d.Axis, d.Input)
		}
		p.line("assumed %s = %d (--shape gives another size)", name, d.Size)
	}
	p.line("latency %s ms min, %s median, %s p95 (n=%d); %s ms of processor time; %s runs/s", number(r.Latency.Min), number(r.Latency.Median),
		number(r.Latency.P95), r.Latency.N, number(r.CPU), number(r.Rate))
	share := ""
	if r.Share != nil {
		share = fmt.Sprintf(", %.0f%% of the peak (%s GFLOP/s for float32)", 100**r.Share, number(r.Peak))
	}
	p.line("work    %s GFLOP, %s GFLOP/s%s", number(r.Flops), number(r.Speed), share)
	p.line("memory  %s arena, %s constants, %s resident at most", size(int64(r.Plan.ArenaBytes)), size(int64(r.Plan.ConstBytes)), size(r.Resident))
	p.line("start   %s ms to load, %s ms to the first result", number(r.Load), number(r.FirstRun))
	for _, k := range sortedKeys(r.Plan.Reference) {
		p.line("slow    %s x%d has no kernel for these shapes: the reference runs", k, r.Plan.Reference[k])
	}
	for _, list := range [][]profiled{r.Ops, r.Nodes[:min(top, len(r.Nodes))]} {
		if len(list) == 0 {
			continue
		}
		rows := [][]string{{"operator", "nodes", "ms", "share", "GFLOP/s", "GB/s", "node"}}
		for _, o := range list {
			rows = append(rows, []string{o.Op, strconv.Itoa(o.Count), number(o.Millis), fmt.Sprintf("%.1f%%", 100*o.Share), number(o.Gflops), number(o.GBps), o.Node})
		}
		p.line("")
		p.table(rows)
	}
}

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// size prints bytes in the unit that reads best.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// cpuTime is the processor time that this process used so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakResident is the largest resident size of this process so far (VmHWM of Linux), 0 where it is not known.
func peakResident() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, l := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(l, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
