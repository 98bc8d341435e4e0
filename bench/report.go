package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"muster/internal/cpu"
)

// wallTime and processorTime are what engines are compared by.
func wallTime(t *times) float64      { return least(t.wall) }
func processorTime(t *times) float64 { return least(t.cpu) }

// ratio is how many times longer the fastest peer takes, by the shortest time; 0 if there is no peer.
func (res result) ratio(peers []string, time func(*times) float64) float64 {
	own, best := time(res.by["muster"]), 0.0
	for _, p := range peers {
		if t := res.by[p]; t != nil && len(t.wall) > 0 && (best == 0 || time(t) < best) {
			best = time(t)
		}
	}
	if own == 0 {
		return 0
	}
	return best / own
}

// share is the part of the arithmetic peak that Muster reaches in its fastest run.
func (b *bench) share(res result) float64 {
	own := res.by["muster"]
	if len(own.wall) == 0 || len(own.open) == 0 {
		return 0
	}
	n := float64(res.threads)
	flops, ints := own.open[0].Flops, own.open[0].IntFlops
	peak, peak8 := max(b.before.flops, b.after.flops), max(b.before.int8, b.after.int8)
	if peak == 0 {
		return 0
	}
	seconds := (flops - ints) / (peak * n)
	if ints > 0 && peak8 > 0 {
		seconds += ints / (peak8 * n)
	}
	return seconds / (least(own.wall) / 1e9)
}

// nanos prints a time in the unit that reads best.
func nanos(ns float64) string {
	switch {
	case ns == 0:
		return "-"
	case ns < 1e4:
		return fmt.Sprintf("%.2f us", ns/1e3)
	case ns < 1e6:
		return fmt.Sprintf("%.0f us", ns/1e3)
	case ns < 1e8:
		return fmt.Sprintf("%.2f ms", ns/1e6)
	}
	return fmt.Sprintf("%.0f ms", ns/1e6)
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }

// head and cells make the columns of a table's kind.
func (t table) head() []string {
	h := []string{"", "threads", "Muster min", "median", "CPU"}
	switch t.kind {
	case "load":
		h = []string{"", "Muster load", "first run"}
		for _, p := range t.peers {
			h = append(h, p+" load", "first run")
		}
		return append(h, "load times faster")
	case "memory":
		h = append(h, "multiple of a pass")
	case "call":
		h = append(h, "allocations")
	case "train":
		h = append(h, "peak", "resident")
	default:
		h = append(h, "peak")
	}
	for _, p := range t.peers {
		h = append(h, p+" min", "median", "CPU")
		if t.kind == "train" {
			h = append(h, "resident")
		}
	}
	return append(h, "times faster", "by CPU", "note")
}

func (b *bench) cells(t table, res result) []string {
	own := res.by["muster"]
	if t.kind == "load" {
		return loadCells(t, res)
	}
	c := []string{res.row.name, fmt.Sprint(res.threads), nanos(least(own.wall)), nanos(median(own.wall)), nanos(least(own.cpu))}
	switch t.kind {
	case "memory":
		c = append(c, res.multiple("muster"))
	case "call":
		a := "-"
		if len(own.open) > 0 {
			a = fmt.Sprintf("%.0f", own.open[0].Allocs)
		}
		c = append(c, a)
	default:
		c = append(c, fmt.Sprintf("%.0f%%", 100*b.share(res)))
	}
	if t.kind == "train" {
		c = append(c, own.resident())
	}
	for _, p := range t.peers {
		o := res.by[p]
		if o == nil {
			o = &times{}
		}
		c = append(c, nanos(least(o.wall)), nanos(median(o.wall)), nanos(least(o.cpu)))
		if t.kind == "train" {
			c = append(c, o.resident())
		}
	}
	for _, by := range []func(*times) float64{wallTime, processorTime} {
		if r := res.ratio(t.peers, by); r > 0 {
			c = append(c, fmt.Sprintf("%.2f", r))
		} else {
			c = append(c, "-")
		}
	}
	return append(c, res.note())
}

func loadCells(t table, res result) []string {
	own := res.by["muster"]
	c := []string{res.row.name}
	var first, peer float64
	for _, name := range append([]string{"muster"}, t.peers...) {
		if res.by[name] == nil { // it did not start
			c = append(c, "-", "-")
			continue
		}
		var load, run []int64
		for _, o := range res.by[name].open {
			load, run = append(load, int64(o.Load)), append(run, int64(o.First))
		}
		c = append(c, nanos(least(load)), nanos(least(run)))
		if name == "muster" {
			first = least(load) + least(run)
		} else {
			peer = least(load) + least(run)
		}
	}
	if own.problem != "" || first == 0 {
		return append(c, "-")
	}
	return append(c, fmt.Sprintf("%.2f", peer/first))
}

func (o *times) resident() string {
	if len(o.open) == 0 {
		return "-"
	}
	return megabytes(o.open[len(o.open)-1].Resident)
}

func (res result) multiple(name string) string {
	t := res.by[name]
	if t == nil || len(t.wall) == 0 || res.bandwidth == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", least(t.wall)/1e9*res.bandwidth/float64(res.row.bytes))
}

// note says what a reader of the row must know.
func (res result) note() string {
	var s []string
	for _, name := range []string{"muster", "ort", "torch", "compile", "mm", "onednn", "int8"} {
		if t := res.by[name]; t != nil && t.problem != "" {
			s = append(s, name+": "+strings.ReplaceAll(t.problem, "|", "/"))
		}
	}
	if res.differs != "" {
		s = append(s, "outputs differ: "+res.differs)
	}
	if own := res.by["muster"]; len(own.open) > 0 && len(own.open[0].Slow) > 0 {
		s = append(s, "no kernel: "+strings.Join(own.open[0].Slow, ", "))
	}
	return strings.Join(s, "; ")
}

// line is one row for a person who waits.
func (b *bench) line(t table, res result) string {
	s := fmt.Sprintf("%-8s %-30s %d threads  muster %s", t.id, res.row.name, res.threads, nanos(least(res.by["muster"].wall)))
	for _, p := range t.peers {
		if o := res.by[p]; o != nil {
			s += fmt.Sprintf("  %s %s", p, nanos(least(o.wall)))
		}
	}
	if t.kind == "memory" {
		s += "  multiple " + res.multiple("muster")
	} else {
		s += fmt.Sprintf("  peak %.0f%%", 100*b.share(res))
	}
	return s + fmt.Sprintf("  %.2fx  %s", res.ratio(t.peers, wallTime), res.note())
}

// tables prints all results as Markdown.
func (b *bench) tables(done []table, results map[string][]result) string {
	var s strings.Builder
	for _, t := range done {
		fmt.Fprintf(&s, "## %s\n\n", t.title)
		if t.note != "" {
			fmt.Fprintf(&s, "%s\n\n", t.note)
		}
		h := t.head()
		fmt.Fprintf(&s, "| %s |\n|%s\n", strings.Join(h, " | "), strings.Repeat("---|", len(h)))
		for _, r := range results[t.id] {
			fmt.Fprintf(&s, "| %s |\n", strings.Join(b.cells(t, r), " | "))
		}
		s.WriteString("\n")
	}
	return s.String()
}

// document is docs/performance.md.
func (b *bench) document(done []table, results map[string][]result) string {
	var s strings.Builder
	s.WriteString("# Performance\n\nWritten by `go run ./bench` (`make bench`); do not edit. Engines are processes that stay warm and take turns; outputs are\n" +
		"compared first. \"times faster\" is the shortest time of the fastest peer over Muster's: below 1 the peer wins; \"by CPU\" compares\n" +
		"processor times, which other load on the machine disturbs less. CPU is the\n" +
		"processor time of a run over all threads, the mean of the best round. \"peak\" is the share of the arithmetic peak measured before and after.\n\n")
	fmt.Fprintf(&s, "- %s, %d cores, %s kernels; load average %s when it began\n", cpuModel(), runtime.NumCPU(), cpu.Active(), b.load)
	for _, m := range []struct {
		when string
		machine
	}{{"before", b.before}, {"after", b.after}} {
		fmt.Fprintf(&s, "- %s, one core: %.0f GFLOP/s float32, %.0f GOP/s int8, memory %.1f GB/s read and %.1f GB/s triad\n",
			m.when, m.flops/1e9, m.int8/1e9, m.read/1e9, m.triad/1e9)
	}
	fmt.Fprintf(&s, "- %d rounds of %s an engine (less for small rows), %s; %s; %s\n\n", b.o.rounds, b.o.slice, runtime.Version(), versions(), time.Now().UTC().Format("2006-01-02"))
	if len(b.partial) > 0 {
		fmt.Fprintf(&s, "**The run was ended early. Not complete: %s.**\n\n", strings.Join(b.partial, "; "))
	}
	s.WriteString(b.tables(done, results))
	return s.String()
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	info := map[string]string{}
	for _, l := range strings.Split(string(b), "\n") {
		if k, v, ok := strings.Cut(l, ":"); ok && info[strings.TrimSpace(k)] == "" {
			info[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return fmt.Sprintf("%s (family %s, model %s)", info["model name"], info["cpu family"], info["model"])
}

func versions() string {
	out, err := exec.Command(filepath.Join(cache(), "venv", "bin", "python"), "-c",
		"import importlib.metadata as m; print(', '.join(n+' '+m.version(n) for n in ('onnxruntime','torch','onnx','numpy')))").Output()
	if err != nil {
		return "versions of the peers unknown"
	}
	return strings.TrimSpace(string(out))
}
