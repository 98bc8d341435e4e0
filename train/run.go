package train

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"time"

	"muster/data"
	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/rng"
	"muster/stat"
	"muster/tensor"
)

// Config says where a run keeps its checkpoints and who watches it.
type Config struct {
	Dir      string         // folder of the checkpoint; "": no checkpoints
	Fresh    bool           // start anew even if there is a checkpoint of this specification
	Progress func(Progress) // called after every step; nil: not
	StopAt   int            // stop after this step as if interrupted, with a checkpoint; 0: run to the end
}

// Progress is the state of a run after a step.
type Progress struct {
	Step, Steps   int
	Epoch         int
	Loss          float64
	GradNorm      float64
	LR            float64
	RowsPerSecond float64
	ETA           time.Duration
	Resumed       int // step the run was resumed from; 0: not
}

// Point is one entry of the learning curve, taken at the end of an epoch.
type Point struct {
	Epoch          int      `json:"epoch"`
	Step           int      `json:"step"`
	Loss           float64  `json:"loss"` // mean over the epoch's steps
	LR             float64  `json:"lr"`
	SelectAccuracy *float64 `json:"select_accuracy,omitempty"` // on the select role, every tenth of the run
}

// Result is a finished run.
type Result struct {
	Model         *graph.Graph
	Curve         []Point
	Steps         int
	Resumed       int
	RowsPerSecond float64
	TrainRows     int
	ArenaBytes    int
}

// loop is the state of a run.
type loop struct {
	spec  Spec
	set   *data.Set
	what  *model
	cfg   Config
	rows  []int
	lab   []int64
	aug   data.Augment
	key   rng.Key
	steps int // in all
	per   int // per epoch

	session *exec.Session
	states  []graph.State
	graph   *graph.Graph
	done    int
	curve   []Point
	order   []int   // of the rows in this epoch
	sum     float64 // loss over the steps of this epoch
	resumed int
}

// Run trains spec on the train role of set. An interrupted run leaves a checkpoint
// in cfg.Dir; the next call with the same specification and data goes on from it,
// and ends with the same bits as a run without interruption.
func Run(ctx context.Context, spec Spec, set *data.Set, ledger *data.Ledger, cfg Config) (*Result, error) {
	if err := ledger.Use(data.Train, data.Fit); err != nil {
		return nil, err
	}
	l, err := newLoop(spec, set, cfg)
	if err != nil {
		return nil, err
	}
	defer l.session.Close()
	if err := l.resume(); err != nil {
		return nil, err
	}
	start, from := time.Now(), l.done
	for l.done < l.steps {
		if stopped := ctx.Err() != nil || cfg.StopAt > 0 && l.done >= cfg.StopAt; stopped {
			if err := l.checkpoint(); err != nil {
				return nil, err
			}
			return nil, fault.New(fault.Exhausted, "train", "stopped after step %d of %d", l.done, l.steps).
				WithHint("the same command goes on from the checkpoint in %s", cfg.Dir)
		}
		p, err := l.step()
		if err != nil {
			return nil, err
		}
		if cfg.Progress != nil {
			l.rate(&p, time.Since(start), from)
			cfg.Progress(p)
		}
	}
	m, err := l.what.export(l.session.StateOf)
	if err != nil {
		return nil, err
	}
	res := &Result{Model: m, Curve: l.curve, Steps: l.steps, Resumed: l.resumed, TrainRows: len(l.rows)}
	if s := time.Since(start).Seconds(); s > 0 {
		res.RowsPerSecond = float64((l.steps-from)*spec.Batch) / s
	}
	return res, l.checkpoint()
}

func (l *loop) rate(p *Progress, took time.Duration, from int) {
	n := l.done - from
	p.RowsPerSecond = float64(n*l.spec.Batch) / max(took.Seconds(), 1e-9)
	p.ETA = time.Duration(float64(took) / float64(n) * float64(l.steps-l.done))
}

func newLoop(spec Spec, set *data.Set, cfg Config) (*loop, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	rows := set.Rows(data.Train)
	if len(rows) < spec.Batch {
		return nil, fault.New(fault.Mismatch, "data "+set.Name, "the train role has %d rows, a batch needs %d", len(rows), spec.Batch).
			WithHint("lower batch, or give the train role a larger share")
	}
	m, err := newModel(spec, set)
	if err != nil {
		return nil, err
	}
	st, err := m.step()
	if err != nil {
		return nil, err
	}
	s, err := exec.New(st.Graph, exec.Config{State: st.State})
	if err != nil {
		return nil, err
	}
	key := rng.New(spec.Seed).Named("train")
	l := &loop{spec: m.spec, set: set, what: m, cfg: cfg, rows: rows, key: key, per: len(rows) / spec.Batch,
		session: s, states: st.State, graph: st.Graph}
	l.steps = l.per * spec.Epochs
	l.lab = flip(set.Labels(), rows, len(set.Classes()), spec.Data.FlipLabels, rng.New(spec.Seed).Named("flip"))
	l.aug = data.Augment{Shift: spec.Data.Shift, Rotate: spec.Data.Rotate, Zoom: spec.Data.Zoom, Noise: spec.Data.Noise}
	return l, nil
}

// flip returns a copy of labels in which a share of the given rows has another, random class.
func flip(labels []int64, rows []int, K int, share float64, key rng.Key) []int64 {
	out := append([]int64{}, labels...)
	if share == 0 {
		return out
	}
	s := key.Stream()
	order := s.Perm(len(rows))
	for _, i := range order[:int(math.Round(share*float64(len(rows))))] {
		r := rows[i]
		out[r] = (out[r] + 1 + int64(s.Intn(K-1))) % int64(K)
	}
	return out
}

// step runs one batch. Its rows, their order and their augmentation depend on seed
// and step number alone.
func (l *loop) step() (Progress, error) {
	epoch, at := l.done/l.per, l.done%l.per
	if at == 0 {
		l.sum = 0
	}
	if l.order == nil || at == 0 {
		l.order = l.key.Named("order").Split(uint64(epoch)).Stream().Perm(len(l.rows))
	}
	batch, y := make([]int, l.spec.Batch), make([]int64, l.spec.Batch)
	for i := range batch {
		batch[i] = l.rows[l.order[at*l.spec.Batch+i]]
		y[i] = l.lab[batch[i]]
	}
	x := l.set.X(batch)
	if img := l.set.Image(); img != nil {
		lo, hi := img.Range()
		l.aug.Apply(x, batch, lo, hi, l.key.Named("augment").Split(uint64(epoch)))
	}
	n := l.done + 1
	lr := l.spec.schedule(l.steps).At(n)
	out, err := l.session.Run(x, tensor.OfInt64(y, len(y)), tensor.OfFloat32([]float32{float32(lr)}), tensor.OfInt64([]int64{int64(n)}))
	if err != nil {
		return Progress{}, err
	}
	loss, norm := float64(out[0].Float32s()[0]), float64(out[1].Float32s()[0])
	if math.IsNaN(loss) || math.IsInf(loss, 0) || math.IsNaN(norm) || math.IsInf(norm, 0) {
		return Progress{}, fault.New(fault.Numeric, "train", "step %d of epoch %d made loss %g and gradient norm %g", n, epoch+1, loss, norm).
			WithHint("lower optimizer.lr or set optimizer.clip_norm; the last checkpoint is kept")
	}
	l.done++
	l.sum += loss
	if err := l.endOfStep(epoch, at, lr); err != nil {
		return Progress{}, err
	}
	return Progress{Step: n, Steps: l.steps, Epoch: epoch + 1, Loss: loss, GradNorm: norm, LR: lr, Resumed: l.resumed}, nil
}

// endOfStep adds to the learning curve and writes due checkpoints.
func (l *loop) endOfStep(epoch, at int, lr float64) error {
	if at == l.per-1 {
		p := Point{Epoch: epoch + 1, Step: l.done, Loss: l.sum / float64(l.per), LR: lr}
		if (epoch+1)%max(1, l.spec.Epochs/10) == 0 || epoch+1 == l.spec.Epochs {
			acc, err := l.selectAccuracy()
			if err != nil {
				return err
			}
			p.SelectAccuracy = acc
		}
		l.curve = append(l.curve, p)
	}
	every := l.spec.CheckpointEvery
	if every == 0 {
		every = 10 * l.per
	}
	if l.done%every == 0 && l.done < l.steps {
		return l.checkpoint()
	}
	return nil
}

// selectAccuracy measures the current parameters on the select role; nil if it has no rows.
func (l *loop) selectAccuracy() (*float64, error) {
	rows := l.set.Rows(data.Select)
	if len(rows) == 0 {
		return nil, nil
	}
	m, err := l.what.scorer(l.session.StateOf)
	if err != nil {
		return nil, err
	}
	s, err := exec.New(m, exec.Config{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out, err := s.Run(l.set.X(rows))
	if err != nil {
		return nil, err
	}
	right, K, z, all := 0, out[0].Shape[1], out[0].Float32s(), l.set.Labels()
	for i, r := range rows {
		if int64(stat.ArgMax(z[i*K:(i+1)*K])) == all[r] {
			right++
		}
	}
	acc := float64(right) / float64(len(rows))
	return &acc, nil
}

// checkpointPath is the one checkpoint of a run; it is replaced atomically.
func (l *loop) checkpointPath() string { return filepath.Join(l.cfg.Dir, "checkpoint.onnx") }

func (l *loop) exists() bool {
	_, err := os.Stat(l.checkpointPath())
	return err == nil
}
