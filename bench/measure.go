package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"muster/internal/kernel"
)

// times are all repetitions of one engine in one row, in nanoseconds.
type times struct {
	wall    []int64
	cpu     []int64 // one per round, the mean of its runs
	open    []reply // one per opening: load times, memory, plan
	profile []string
	problem string // why there are none
}

func least(v []int64) float64 {
	if len(v) == 0 {
		return 0
	}
	m := v[0]
	for _, x := range v {
		m = min(m, x)
	}
	return float64(m)
}

func median(v []int64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]int64{}, v...)
	sort.Slice(s, func(i, j int) bool { return s[i] < s[j] })
	return float64(s[len(s)/2])
}

// result is a measured row.
type result struct {
	row       row
	threads   int
	by        map[string]*times
	bandwidth float64 // of a pass over memory of the row's size, bytes per second
	differs   string  // how outputs differ, "" if they agree or were not compared
	maxRel    float64
}

// machine is the thermometer: what one core can do, before and after.
type machine struct {
	flops, int8 float64 // per second
	read, triad float64 // bytes per second, memory larger than every cache
}

func thermometer() machine {
	const d = 200 * time.Millisecond
	var m machine
	m.flops, m.int8 = kernel.PeakFlops(d), kernel.PeakInt8(d)
	m.read, m.triad = kernel.Bandwidth(192<<20, d)
	return m
}

// bench holds the engines and the settings of a run.
type bench struct {
	o       *options
	engines map[string]*engine
	before  machine
	after   machine
	load    string
	partial []string // titles of the tables that an interrupt cut short
}

// measure runs all tables and prints them, and writes the document if nothing was left out. An interrupt ends it
// after the row under way; the document then says which tables are not complete.
func measure(o *options) error {
	b := &bench{o: o, engines: map[string]*engine{}, load: loadAverage()}
	defer b.stop()
	b.before = thermometer()
	fmt.Printf("one core: %.0f GFLOP/s float32, %.0f GOP/s int8, memory %.1f GB/s read, %.1f GB/s triad; load %s\n",
		b.before.flops/1e9, b.before.int8/1e9, b.before.read/1e9, b.before.triad/1e9, b.load)
	threads := []int{1, min(2, runtime.NumCPU())}
	if o.threads > 0 {
		threads = []int{o.threads}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var done []table
	results := map[string][]result{}
	for _, t := range tables() {
		var rows []row
		for _, r := range t.rows {
			if o.only.MatchString(t.id + ": " + r.name) {
				rows = append(rows, r)
			}
		}
		if len(rows) == 0 {
			continue
		}
		done = append(done, t)
		for _, n := range threads {
			if n > 1 && (t.kind == "memory" || t.kind == "call" || t.kind == "load") && o.threads == 0 {
				continue // one thread says what these tables ask
			}
			for _, r := range rows {
				if ctx.Err() != nil {
					if !slices.Contains(b.partial, t.title) {
						b.partial = append(b.partial, t.title)
					}
					break
				}
				res, err := b.row(r, t, n)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", t.id, r.name, err)
				}
				results[t.id] = append(results[t.id], res)
				fmt.Println(b.line(t, res))
				for _, l := range res.by["muster"].profile {
					fmt.Println("    " + l)
				}
			}
		}
	}
	b.after = thermometer()
	if o.all {
		return os.WriteFile(o.out, []byte(b.document(done, results)), 0o644)
	}
	fmt.Println()
	fmt.Print(b.tables(done, results))
	return nil
}

func (b *bench) stop() {
	for _, e := range b.engines {
		e.stop()
	}
	b.engines = map[string]*engine{}
}

// engine returns the warm engine of that name; a dead one is replaced.
func (b *bench) engine(name string) (*engine, error) {
	switch name {
	case "mm", "onednn", "int8":
		name = "torch"
	}
	if e := b.engines[name]; e != nil && !e.dead {
		return e, nil
	}
	e, err := start(name)
	b.engines[name] = e
	return e, err
}

// row measures one row on n threads. Engines of one process cannot be open at once for two tasks, so
// those that share one (the products of torch) are opened again for every round.
func (b *bench) row(r row, t table, n int) (result, error) {
	dir, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	tasks, err := r.prepare(&r, dir)
	if err != nil {
		return result{row: r, threads: n, by: map[string]*times{"muster": {problem: err.Error()}}}, nil
	}
	unlock, err := lock(b.o.lock)
	if err != nil {
		return result{}, err
	}
	defer unlock()
	res := result{row: r, threads: n, by: map[string]*times{}}
	if r.fresh {
		b.stop()
		defer b.stop()
	}
	names := []string{"muster"}
	for _, p := range t.peers {
		if _, ok := tasks[p]; ok {
			names = append(names, p)
		}
	}
	for _, name := range names {
		res.by[name] = &times{}
	}
	open := map[string]string{} // the task that is open in a process
	for round := 0; round < b.o.rounds; round++ {
		for _, name := range names {
			if err := b.turn(r, name, tasks[name], n, open, res.by[name]); err != nil {
				return res, err
			}
		}
		if round == 0 {
			res.compare(r, t.peers)
		}
	}
	for _, e := range b.engines {
		if e != nil {
			e.ask(task{Cmd: "close"}, limit)
		}
	}
	if r.bytes > 0 {
		size := min(max(r.bytes, 64<<10), 192<<20)
		_, triad := kernel.Bandwidth(size, 20*time.Millisecond)
		res.bandwidth = triad
	}
	return res, nil
}

// lock waits for its turn; without a path there is nothing to wait for.
func lock(path string) (unlock func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// turn is one round of one engine.
func (b *bench) turn(r row, name string, t task, n int, open map[string]string, to *times) error {
	if to.problem != "" {
		return nil
	}
	e, err := b.engine(name)
	if err != nil {
		return err
	}
	t.Threads, t.Profile = n, b.o.profile
	if open[e.name] != name || r.loads {
		p := e.ask(t, limit)
		if p.Error != "" {
			to.problem = p.Error
			return nil
		}
		to.open = append(to.open, p)
		open[e.name] = name
	}
	nanos := int64(float64(b.o.slice) * r.slice)
	least := 2
	if r.loads {
		nanos, least = 0, 1
	}
	p := e.ask(task{Cmd: "run", Nanos: nanos, Least: least}, limit)
	if p.Error != "" {
		to.problem = p.Error
		return nil
	}
	to.wall, to.cpu = append(to.wall, p.Wall...), append(to.cpu, p.CPU)
	to.open[len(to.open)-1].Resident, to.profile = p.Resident, p.Profile
	time.Sleep(20 * time.Millisecond) // threads of the engine that spin come to rest
	return nil
}

// compare looks at the outputs of the first round.
func (res *result) compare(r row, peers []string) {
	own := res.by["muster"]
	for _, p := range peers {
		t := res.by[p]
		if r.rtol == 0 || t == nil || len(t.open) == 0 || len(own.open) == 0 || len(t.open[0].Outputs) == 0 {
			continue
		}
		text, _, rel := difference(own.open[0].Outputs, t.open[0].Outputs, r.rtol)
		res.maxRel = max(res.maxRel, rel)
		if text != "" && res.differs == "" {
			res.differs = fmt.Sprintf("%s against %s, %.2g of the largest output", text, p, rel)
		}
	}
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	if len(f) < 3 {
		return "unknown"
	}
	return strings.Join(f[:3], " ")
}
