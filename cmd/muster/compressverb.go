package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"muster/compress"
	"muster/data"
	"muster/internal/atomicfile"
	"muster/record"
	"muster/tensor"
)

// compressArgs are the settings of one compression.
type compressArgs struct {
	evalArgs
	Output string              `json:"output"`
	Rows   int                 `json:"rows"` // calibration rows
	Int8   compress.Int8Config `json:"int8"`
	NoEval bool                `json:"no_eval"`
}

// compressed is what a compression leaves behind.
type compressed struct {
	Run    string               `json:"run"`
	Model  record.Subject       `json:"model"`
	From   record.Subject       `json:"from"`
	File   string               `json:"file"`
	Bytes  int                  `json:"bytes"`
	Rows   int                  `json:"calibration_rows"`
	Layers []compress.Int8Layer `json:"layers"`
	Eval   *evaluated           `json:"eval,omitempty"`
}

func compressVerb(a *app) *cobra.Command {
	var c compressArgs
	shares := map[string]string{}
	cmd := &cobra.Command{
		Use: "compress MODEL --data DATA", Short: "Shrink a model to int8 and prove what it cost", Args: cobra.ExactArgs(1),
		Long: `Compress quantizes every linear layer to int8 (weights per output channel, activations
calibrated on training rows), writes a standard Q/DQ ONNX file, and measures it against
the float model on the same test rows: answers that changed, KL divergence, accuracy
difference with its interval, size, latency, and how many nodes ran on integer kernels.`,
		Example: `  muster compress digits.onnx --data builtin:digits -o digits.int8.onnx`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.Output == "" {
				c.Output = strings.TrimSuffix(args[0], ".onnx") + ".int8.onnx"
			}
			m, err := loadModel(args[0])
			if err != nil {
				return err
			}
			if c.Split, err = parseShares(shares); err != nil {
				return err
			}
			c.Against = args[0]
			res, err := a.compress(cmd.Context(), m, c, explicit(cmd))
			if err != nil {
				return err
			}
			return a.print(res, res.text)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Source, "data", "", "data set: a file, a folder or builtin:NAME")
	cmd.MarkFlagRequired("data")
	c.register(f)
	f.StringVarP(&c.Output, "output", "o", "", "model file (default: MODEL.int8.onnx)")
	f.IntVar(&c.Rows, "rows", 256, "training rows to calibrate with")
	f.Float64Var(&c.Int8.Clip, "clip", 0, "share of activation values cut off at each end of their range")
	f.StringSliceVar(&c.Int8.Skip, "skip", nil, "MatMul nodes that stay in float32")
	f.StringToStringVar(&shares, "split", nil, "shares of the roles, as in the training specification")
	f.Uint64Var(&c.Seed, "split-seed", 1, "seed of the split, as in the training specification")
	f.Uint64Var(&c.Check.Seed, "seed", 1, "seed of the measurements")
	f.StringVar(&c.Outside, "outside", "", "data set of another kind, for out-of-distribution detection")
	f.BoolVar(&c.NoEval, "no-eval", false, "write the file without measuring it")
	return cmd
}

// compress quantizes m, records it, and measures the result against m.
func (a *app) compress(ctx context.Context, m *modelFile, c compressArgs, given []string) (*compressed, error) {
	j, err := a.begin(ctx, "compress", c, given, c.Check.Seed)
	if err != nil {
		return nil, err
	}
	res, err := a.compressRun(ctx, m, c, j)
	if err = j.end(ctx, err); err != nil || c.NoEval {
		return res, err
	}
	small, err := loadModel(c.Output)
	if err != nil {
		return nil, err
	}
	res.Eval, err = a.eval(ctx, small, c.evalArgs, given)
	return res, err
}

func (a *app) compressRun(ctx context.Context, m *modelFile, c compressArgs, j *job) (*compressed, error) {
	set, ledger, err := a.split(ctx, c.dataFlags, c.Split, c.Seed)
	if err != nil {
		return nil, err
	}
	if err := ledger.Use(data.Train, data.FitRanges); err != nil {
		return nil, err
	}
	rows := set.Rows(data.Train)
	rows = rows[:min(c.Rows, len(rows))]
	calib := [][]*tensor.Tensor{{set.X(rows)}}
	q, layers, err := compress.StaticInt8(m.graph, calib, c.Int8)
	if err != nil {
		return nil, err
	}
	b, err := q.Encode()
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Write(c.Output, b, 0o644); err != nil {
		return nil, err
	}
	name := (&modelFile{path: c.Output}).name()
	subject, err := j.st.PutBytes(ctx, "model", name, b)
	if err != nil {
		return nil, err
	}
	from, err := j.st.PutBytes(ctx, "model", m.name(), m.bytes)
	if err != nil {
		return nil, err
	}
	j.run.Inputs = append(j.run.Inputs, from, set.Subject())
	j.run.Outputs = append(j.run.Outputs, subject)
	return &compressed{Run: j.run.ID, Model: subject, From: from, File: c.Output, Bytes: len(b), Rows: len(rows), Layers: layers}, nil
}

func (r *compressed) text(p *printer) {
	p.line("quantized %d linear layers of %s with %d calibration rows", len(r.Layers), r.From.Name, r.Rows)
	p.line("wrote %s, %d bytes, %s", r.File, r.Bytes, r.Model.Digest)
	if r.Eval != nil {
		r.Eval.text(p)
	}
}
