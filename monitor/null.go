package monitor

import (
	"math"

	"muster/internal/detmath"
	"muster/rng"
	"muster/stat"
)

// Null is how the statistics of clean windows of one size behave.
type Null struct {
	Size      int       `json:"size"`      // requests in the window
	Mean      []float64 `json:"mean"`      // per statistic
	Deviation []float64 `json:"deviation"` // per statistic
	Threshold float64   `json:"threshold"` // of the largest standardised statistic
}

// The simulation: outer samples of the population, and windows within each.
const (
	nullOuter = 80
	nullInner = 40
)

var nullSizes = []int{25, 50, 100, 200, 400, 800}

// tally is a window in the form that the statistics read: plain counts and sums.
type tally struct {
	n        float64
	features [][]float64 // counts per bin
	cells    []float64   // sums
	conf     []float64
	class    []float64
}

func (r *Reference) newTally() *tally {
	t := &tally{cells: make([]float64, len(r.Cells)), conf: make([]float64, len(r.Confidence.Counts)), class: make([]float64, r.Classes)}
	for _, f := range r.Features {
		t.features = append(t.features, make([]float64, len(f.Hist.Counts)))
	}
	return t
}

// binned is a reference row ready for counting.
type binned struct {
	features []int
	cells    []float64
	conf     int
	class    int
}

func (t *tally) add(b *binned) {
	t.n++
	for i, bin := range b.features {
		t.features[i][bin]++
	}
	for i, v := range b.cells {
		t.cells[i] += v
	}
	t.conf[b.conf]++
	t.class[b.class]++
}

func (t *tally) reset() {
	t.n = 0
	for _, f := range t.features {
		clear(f)
	}
	clear(t.cells)
	clear(t.conf)
	clear(t.class)
}

// statistics returns how many statistics a window has: one per feature, the largest
// and the mean square cell, confidence, class.
func (r *Reference) statistics() int { return len(r.Features) + 4 }

// statisticName returns the name of statistic i as in measurements.
func (r *Reference) statisticName(i int) string {
	if i < len(r.Features) {
		return "drift/" + r.Features[i].Name
	}
	return []string{"drift/cell-max", "drift/cell-mean", "shift/confidence", "shift/class"}[i-len(r.Features)]
}

// compare writes the statistics of window w against reference sample ref into out.
// Distances are scaled by the root of eff = 1/(1/n + 2/m), n requests against m
// reference rows: one 1/m for the reference, one for traffic that is itself a
// finite sample of the population. What the scaling misses, the null table corrects.
func (r *Reference) compare(ref, w *tally, out []float64) {
	eff := 1 / (1/w.n + 2/ref.n)
	root := math.Sqrt(eff)
	k := len(r.Features)
	for i := range r.Features {
		out[i] = float64(root * cdfDistance(ref.features[i], w.features[i], ref.n, w.n))
	}
	top, square := 0.0, 0.0
	for i, c := range r.Cells {
		z := float64(root * ((w.cells[i]/w.n - ref.cells[i]/ref.n) / c.Deviation))
		top = math.Max(top, math.Abs(z))
		square += float64(z * z)
	}
	out[k], out[k+1] = top, square/float64(len(r.Cells))
	out[k+2] = float64(root * cdfDistance(ref.conf, w.conf, ref.n, w.n))
	chi := 0.0
	for i := range ref.class {
		p, q := ref.class[i]/ref.n, w.class[i]/w.n
		chi += float64((q-p)*(q-p)) / (p + 1/ref.n)
	}
	out[k+3] = math.Sqrt(float64(eff * chi))
}

// cdfDistance is the Kolmogorov-Smirnov distance of two binned samples.
func cdfDistance(a, b []float64, n, m float64) float64 {
	d, x, y := 0.0, 0.0, 0.0
	for i := range a {
		x += a[i]
		y += b[i]
		d = math.Max(d, math.Abs(x/n-y/m))
	}
	return d
}

// simulate measures clean windows. Each outer round draws a reference and a traffic
// pool, both of m rows, from the rows at hand (the bootstrap's stand-in for the
// population), each inner round a window from the pool; prefixes of one draw give the
// windows of all sizes. So the null includes the sampling error of the reference
// itself, which dominates once windows are larger than the reference.
func (r *Reference) simulate(rows []row, key rng.Key) []Null {
	all := r.bin(rows)
	draws := make([][][]float64, len(nullSizes)) // [size][draw][statistic]
	ref, win := r.newTally(), r.newTally()
	pool := make([]*binned, len(all))
	for o := range nullOuter {
		s := key.Split(uint64(o)).Stream()
		ref.reset()
		for i := range all {
			ref.add(&all[s.Intn(len(all))])
			pool[i] = &all[s.Intn(len(all))]
		}
		for range nullInner {
			win.reset()
			for size, n := range nullSizes {
				for int(win.n) < n {
					win.add(pool[s.Intn(len(pool))])
				}
				out := make([]float64, r.statistics())
				r.compare(ref, win, out)
				draws[size] = append(draws[size], out)
			}
		}
	}
	table := make([]Null, len(nullSizes))
	for size, n := range nullSizes {
		table[size] = summarise(n, draws[size], r.Config.AlarmRate)
	}
	return table
}

func (r *Reference) bin(rows []row) []binned {
	all := make([]binned, len(rows))
	for i, w := range rows {
		b := binned{cells: w.cells, conf: r.Confidence.Bin(w.conf), class: w.class}
		for k, v := range w.features {
			b.features = append(b.features, r.Features[k].Hist.Bin(v))
		}
		all[i] = b
	}
	return all
}

// summarise turns draws (nullOuter blocks of nullInner) into a table row. A reference
// lives long and sees many windows, so half of the rate is spent on unlucky references
// and half on unlucky windows of the others: within each outer round the largest
// standardised statistic is fitted by a Gumbel distribution, the law of maxima, and its
// 1 - rate/2 quantile taken; those of all rounds are fitted in the same way, and their
// 1 - rate/2 quantile is the threshold.
func summarise(size int, draws [][]float64, rate float64) Null {
	null := Null{Size: size, Mean: make([]float64, len(draws[0])), Deviation: make([]float64, len(draws[0]))}
	for i := range null.Mean {
		var m stat.Moments
		for _, d := range draws {
			m.Add(d[i])
		}
		null.Mean[i], null.Deviation[i] = m.Mean(), math.Max(1e-9, math.Sqrt(m.Variance()))
	}
	var quantiles stat.Moments
	for o := 0; o < len(draws); o += nullInner {
		var m stat.Moments
		for _, d := range draws[o : o+nullInner] {
			_, score := null.score(d)
			m.Add(score)
		}
		quantiles.Add(gumbelQuantile(&m, rate/2))
	}
	null.Threshold = math.Max(1e-9, gumbelQuantile(&quantiles, rate/2))
	return null
}

// gumbelQuantile returns the 1 - rate quantile of the Gumbel law with these moments.
func gumbelQuantile(m *stat.Moments, rate float64) float64 {
	const euler, sd = 0.57721566490153286, 1.2825498301618641 // mean and deviation of the standard law
	return m.Mean() + float64((-detmath.Log(-detmath.Log1p(-rate))-euler)/sd*math.Sqrt(m.Variance()))
}

// score returns the largest standardised statistic and its index.
func (n *Null) score(d []float64) (which int, score float64) {
	score = math.Inf(-1)
	for i, v := range d {
		if u := (v - n.Mean[i]) / n.Deviation[i]; u > score {
			which, score = i, u
		}
	}
	return which, score
}
