package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/data"
	"muster/fault"
	"muster/internal/atomicfile"
	"muster/record"
	"muster/train"
)

// trainArgs are the settings of one training.
type trainArgs struct {
	Spec   train.Spec `json:"spec"`
	Output string     `json:"output"`
	Dir    string     `json:"dir"` // of the checkpoint
	Fresh  bool       `json:"fresh"`
	StopAt int        `json:"stop_at,omitempty"`
}

// trained is what a training leaves behind.
type trained struct {
	Run           string               `json:"run"`
	Model         record.Subject       `json:"model"`
	File          string               `json:"file"`
	Bytes         int                  `json:"bytes"`
	Steps         int                  `json:"steps"`
	ResumedFrom   int                  `json:"resumed_from,omitempty"`
	Seconds       float64              `json:"seconds"`
	RowsPerSecond float64              `json:"rows_per_second"`
	Rows          map[string]int       `json:"rows"`
	Curve         []train.Point        `json:"curve"`
	Measurements  []record.Measurement `json:"-"`
}

func trainVerb(a *app) *cobra.Command {
	var t trainArgs
	var fl trainFlags
	cmd := &cobra.Command{
		Use: "train [SPEC]", Short: "Train a model from a written specification, or fine-tune an ONNX file", Args: cobra.MaximumNArgs(1),
		Long: `Train builds the model that SPEC describes as an ONNX graph, appends loss, gradients
and optimizer as graph rewrites, and runs the training step until the end. A run
that was interrupted, even by kill -9, goes on from its last checkpoint when the same
command is given again, and ends with the same bits.

With --from FILE the model is that of an ONNX file: its parameters are fine-tuned on the rows
of SPEC's data (or --data), by default below a new linear head. Other inputs get constants
(masks 1, the rest 0, or model.feed of SPEC). With model.head logits or probability the file's own
output is trained, and the result has the inputs and outputs of the file.`,
		Example: `  muster train recipes/digits-vit.yaml -o digits.onnx
  muster train recipes/german-credit-mlp.yaml -o credit.onnx --json
  muster train --from resnet50.onnx --data builtin:digits -o tuned.onnx
  muster train --from minilm.onnx finetune.yaml -o tuned.onnx`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if t.Spec, err = fl.spec(args); err != nil {
				return err
			}
			if t.Output == "" {
				t.Output = t.Spec.Name + ".onnx"
			}
			if t.Dir == "" {
				t.Dir = t.Output + ".run"
			}
			res, err := a.train(cmd.Context(), t, explicit(cmd))
			if err != nil {
				return err
			}
			return a.print(res, func(p *printer) { res.text(p, t.Spec) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&fl.From, "from", "", "fine-tune this ONNX file")
	f.StringVar(&fl.Data, "data", "", "data to train on, in place of SPEC's")
	f.StringVar(&fl.Target, "target", "", "label column, in place of SPEC's")
	f.IntVar(&fl.Epochs, "epochs", 0, "passes over the data, in place of SPEC's")
	f.IntVar(&fl.Batch, "batch", 0, "rows of a step, in place of SPEC's")
	f.Float64Var(&fl.LR, "lr", 0, "peak learning rate, in place of SPEC's")
	f.StringVarP(&t.Output, "output", "o", "", "model file (default: NAME.onnx)")
	f.StringVar(&t.Dir, "dir", "", "folder of the checkpoint (default: OUTPUT.run)")
	f.BoolVar(&t.Fresh, "fresh", false, "start anew instead of resuming")
	f.IntVar(&t.StopAt, "stop-at", 0, "stop after this step with a checkpoint")
	return cmd
}

// trainFlags are settings that take the place of a specification's.
type trainFlags struct {
	From, Data, Target string
	Epochs, Batch      int
	LR                 float64
}

// tuneLR is the learning rate of a fine-tuning that does not say one.
const tuneLR = 1e-4

// spec reads the specification and puts what the flags say in its place.
func (f trainFlags) spec(args []string) (train.Spec, error) {
	s := train.Default()
	switch {
	case len(args) == 1:
		b, err := os.ReadFile(args[0])
		if err != nil {
			return s, fault.New(fault.NotFound, args[0], "%w", err).WithHint("recipes/ holds examples")
		}
		read := train.Parse
		if f.From != "" {
			read = train.ParseImport
		}
		if s, err = read(args[0], b); err != nil {
			return s, err
		}
	case f.From == "" || f.Data == "":
		return s, fault.New(fault.Malformed, "train", "there is nothing to train").WithHint("give a SPEC, or --from FILE and --data DATA")
	default:
		s.Epochs, s.Optim.LR, s.Optim.LabelSmoothing = 3, tuneLR, 0
		s.Name = strings.TrimSuffix(filepath.Base(f.From), ".onnx") + "-tuned"
	}
	if f.From != "" {
		s.Model.Import(f.From)
	}
	if f.Data != "" {
		s.Data.Source, s.Data.Target = f.Data, ""
	}
	if f.Target != "" {
		s.Data.Target = f.Target
	}
	if f.Epochs != 0 { // what is out of range, Validate says

		s.Epochs = f.Epochs
	}
	if f.Batch != 0 {
		s.Batch = f.Batch
	}
	if f.LR != 0 {
		s.Optim.LR = f.LR
	}
	return s, s.Validate()
}

func (r *trained) text(p *printer, spec train.Spec) {
	if r.ResumedFrom > 0 {
		p.line("resumed from the checkpoint at step %d", r.ResumedFrom)
	}
	p.line("trained %s", spec.Model)
	last := r.Curve[len(r.Curve)-1]
	p.line("%d steps in %.1f s, %.0f rows/s, last epoch's loss %.4f", r.Steps, r.Seconds, r.RowsPerSecond, last.Loss)
	if last.SelectAccuracy != nil {
		p.line("accuracy on the select role %.4f (chosen on, so not a result: see `muster eval`)", *last.SelectAccuracy)
	}
	p.line("wrote %s, %d bytes, %s", r.File, r.Bytes, r.Model.Digest)
}

// openSpecData opens the data of a specification and gives its rows their roles.
func (a *app) openSpecData(ctx context.Context, d train.DataSpec) (*data.Set, *data.Ledger, error) {
	return a.split(ctx, dataFlags{Source: d.Source, Target: d.Target, Image: d.Image}, d.Split, d.SplitSeed)
}

// train runs one training and records it.
func (a *app) train(ctx context.Context, t trainArgs, given []string) (*trained, error) {
	j, err := a.begin(ctx, "train", t, given, t.Spec.Seed)
	if err != nil {
		return nil, err
	}
	res, err := a.trainRun(ctx, t, j)
	return res, j.end(ctx, err)
}

func (a *app) trainRun(ctx context.Context, t trainArgs, j *job) (*trained, error) {
	set, ledger, err := a.openSpecData(ctx, t.Spec.Data)
	if err != nil {
		return nil, err
	}
	j.run.Inputs = append(j.run.Inputs, set.Subject())
	if t.Dir != "" {
		if err := os.MkdirAll(t.Dir, 0o755); err != nil {
			return nil, fault.New(fault.Exhausted, t.Dir, "%w", err)
		}
	}
	bar, start := a.progress(), time.Now()
	res, err := train.Run(ctx, t.Spec, set, ledger, train.Config{Dir: t.Dir, Fresh: t.Fresh, StopAt: t.StopAt, Progress: func(p train.Progress) {
		bar.show(p.Step == p.Steps, "step %d/%d  epoch %d  loss %.4f  lr %.2g  %.0f rows/s  ETA %s",
			p.Step, p.Steps, p.Epoch, p.Loss, p.LR, p.RowsPerSecond, p.ETA.Round(time.Second))
	}})
	if err != nil {
		return nil, err
	}
	b, err := res.Model.Encode()
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Write(t.Output, b, 0o644); err != nil {
		return nil, err
	}
	subject, err := j.st.PutBytes(ctx, "model", t.Spec.Name, b)
	if err != nil {
		return nil, err
	}
	out := &trained{Run: j.run.ID, Model: subject, File: t.Output, Bytes: len(b), Steps: res.Steps, ResumedFrom: res.Resumed,
		Seconds: time.Since(start).Seconds(), RowsPerSecond: res.RowsPerSecond, Rows: map[string]int{}, Curve: res.Curve}
	for _, r := range data.Roles() {
		out.Rows[string(r)] = len(set.Rows(r))
	}
	j.run.Outputs = append(j.run.Outputs, subject)
	j.run.Measurements = curveMeasurements(res.Curve, subject, set.Subject(), t.Spec.Seed)
	if t.Dir != "" {
		curve, err := json.MarshalIndent(res.Curve, "", " ")
		if err != nil {
			return nil, err
		}
		if err := atomicfile.Write(filepath.Join(t.Dir, "curve.json"), curve, 0o644); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// curveMeasurements keeps the learning curve as evidence.
func curveMeasurements(curve []train.Point, model, set record.Subject, seed uint64) []record.Measurement {
	if len(curve) == 0 {
		return nil
	}
	d, err := json.Marshal(map[string]any{"points": curve})
	if err != nil {
		panic(fmt.Sprint("muster: learning curve: ", err)) // finite numbers only: the loop stops at NaN
	}
	last := curve[len(curve)-1]
	return []record.Measurement{{Name: "train/loss", Check: "train", Version: 1, Subjects: []record.Subject{model, set}, Role: string(data.Train),
		Value: record.Val(last.Loss), Direction: record.Lower, N: len(curve), Unit: "nats", Seed: seed, Detail: d,
		Settings: map[string]any{"what": "mean training loss of the last epoch; n is the number of epochs"}}}
}
