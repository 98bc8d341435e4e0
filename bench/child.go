package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/internal/feed"
	"muster/internal/team"
	"muster/tensor"
)

// serve is Muster as an engine: the protocol of engine.go on standard input and output.
func serve() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	var c child
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var t task
		r := reply{}
		if err = json.Unmarshal(line, &t); err == nil {
			err = c.do(t, &r)
		}
		if err != nil {
			r = reply{Error: err.Error(), Class: string(fault.ClassOf(err))}
		}
		r.Resident = resident()
		out.Encode(r)
	}
}

// child is the open task.
type child struct {
	session *exec.Session
	once    func() error
	close   func()
}

func (c *child) do(t task, r *reply) (err error) {
	switch t.Cmd {
	case "open":
		c.drop()
		c.close = team.Resize(t.Threads)
		if t.Kind == "train" {
			return c.openTrain(t, r)
		}
		return c.openFile(t, r)
	case "run":
		return c.run(t, r)
	case "close":
		c.drop()
		runtime.GC()
	}
	return nil
}

func (c *child) drop() {
	if c.session != nil {
		c.session.Close()
	}
	if c.close != nil {
		c.close()
	}
	*c = child{}
}

func (c *child) openFile(t task, r *reply) error {
	start := time.Now()
	g, err := graph.Load(t.File)
	if err != nil {
		return err
	}
	s, err := exec.New(g, exec.Config{Profile: t.Profile})
	if err != nil {
		return err
	}
	c.session = s
	r.Load = float64(time.Since(start))
	var in []*tensor.Tensor
	for _, v := range g.Inputs {
		x, err := feed.ReadFile(t.Inputs[v.Name])
		if err != nil {
			return err
		}
		in = append(in, x)
	}
	start = time.Now()
	out, err := s.Run(in...)
	if err != nil {
		return err
	}
	r.First = float64(time.Since(start))
	if err := c.describe(in, r); err != nil {
		return err
	}
	for i, x := range out {
		if err := r.output(t.Out, i, x); err != nil {
			return err
		}
	}
	if err := s.RunInto(in, out); err == nil {
		c.once = func() error { return s.RunInto(in, out) }
	} else {
		c.once = func() error { _, err := s.Run(in...); return err }
	}
	r.Allocs = allocations(c.once)
	return nil
}

// describe fills in what the plan says.
func (c *child) describe(in []*tensor.Tensor, r *reply) error {
	p, err := c.session.Plan(in...)
	if err != nil {
		return err
	}
	r.Nodes, r.Flops, r.IntFlops, r.Arena = p.Nodes, float64(p.Flops), float64(p.IntegerFlops), int64(p.ArenaBytes)
	for k, n := range p.Reference {
		r.Slow = append(r.Slow, fmt.Sprintf("%s x%d", k, n))
	}
	return nil
}

func (r *reply) output(dir string, i int, x *tensor.Tensor) error {
	b, err := feed.EncodeNPY(x)
	if err != nil {
		return err
	}
	p := filepath.Join(dir, fmt.Sprintf("muster-%d.npy", i))
	r.Outputs = append(r.Outputs, p)
	return os.WriteFile(p, b, 0o644)
}

// allocations counts those of one run, on average of a few.
func allocations(f func() error) float64 {
	const n = 3
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	for i := 0; i < n; i++ {
		f()
	}
	runtime.ReadMemStats(&b)
	return float64(b.Mallocs-a.Mallocs) / n
}

func (c *child) run(t task, r *reply) error {
	if c.once == nil {
		return fault.New(fault.Internal, "bench", "nothing is open")
	}
	runtime.GC()
	r.Wall = make([]int64, 0, 1<<16)
	cpu := processTime()
	for begin := time.Now(); len(r.Wall) < t.Least || time.Since(begin) < time.Duration(t.Nanos) && len(r.Wall) < cap(r.Wall); {
		wall := time.Now()
		if err := c.once(); err != nil {
			return err
		}
		r.Wall = append(r.Wall, int64(time.Since(wall)))
	}
	r.CPU = (processTime() - cpu) / int64(len(r.Wall))
	r.Profile = profile(c.session.Profile())
	return nil
}

// profile adds up the least time of the nodes by operator, longest first.
func profile(rows []exec.ProfileRow) (lines []string) {
	type sum struct{ nanos, flops, bytes, count float64 }
	by, total := map[string]*sum{}, 0.0
	for _, r := range rows {
		s := by[r.Op]
		if s == nil {
			s = &sum{}
			by[r.Op] = s
		}
		ns := float64(r.Least)
		s.nanos, s.flops, s.bytes, s.count = s.nanos+ns, s.flops+float64(r.Flops), s.bytes+float64(r.Bytes), s.count+1
		total += ns
	}
	var ops []string
	for op := range by {
		ops = append(ops, op)
	}
	sort.Slice(ops, func(i, j int) bool { return by[ops[i]].nanos > by[ops[j]].nanos })
	for _, op := range ops {
		s := by[op]
		lines = append(lines, fmt.Sprintf("%-32s x%-4.0f %10s %5.1f%%  %6.1f GFLOP/s %6.1f GB/s", op, s.count, nanos(s.nanos), 100*s.nanos/total, s.flops/s.nanos, s.bytes/s.nanos))
	}
	return lines
}

// processTime is CLOCK_PROCESS_CPUTIME_ID in nanoseconds.
func processTime() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return t.Nano()
}

// resident is VmHWM, the largest resident size so far.
func resident() int64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, s, _ := strings.Cut(string(b), "VmHWM:")
	n, _ := strconv.ParseInt(strings.TrimSpace(strings.SplitN(s, "kB", 2)[0]), 10, 64)
	return n << 10
}
