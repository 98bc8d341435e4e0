// Package train turns a written specification into a trained model: one visible
// loop over a training-step graph, checkpoints that are graphs, resume to the
// same bits.
package train

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml"

	"muster/fault"
	"muster/optim"
	"muster/record"
)

// Spec is the content of a training specification file. Zero values take the
// defaults that Default returns; every value ends up in the run record.
type Spec struct {
	Version  int          `yaml:"version" json:"version"`
	Name     string       `yaml:"name" json:"name"`
	Model    ModelSpec    `yaml:"model" json:"model"`
	Data     DataSpec     `yaml:"data" json:"data"`
	Optim    OptimSpec    `yaml:"optimizer" json:"optimizer"`
	Schedule ScheduleSpec `yaml:"schedule" json:"schedule"`
	Epochs   int          `yaml:"epochs" json:"epochs"`
	Batch    int          `yaml:"batch" json:"batch"`
	Seed     uint64       `yaml:"seed" json:"seed"`
	// Precision is "f32", or "bf16": the products of a step then round their operands to bfloat16, and sums, parameters and
	// moments stay float32. Processors that have no instruction for it give the same result, slower.
	Precision string `yaml:"precision" json:"precision,omitempty"`
	// CheckpointEvery is the number of steps between checkpoints; 0 is once per ten epochs.
	CheckpointEvery int `yaml:"checkpoint_every" json:"checkpoint_every"`
}

// ModelSpec chooses a family and its sizes, or the file that is fine-tuned.
type ModelSpec struct {
	Family string `yaml:"family" json:"family"` // "vit", "mlp" or "onnx"
	Patch  int    `yaml:"patch" json:"patch,omitempty"`
	Dim    int    `yaml:"dim" json:"dim"`
	Depth  int    `yaml:"depth" json:"depth"`
	Heads  int    `yaml:"heads" json:"heads,omitempty"`
	Hidden int    `yaml:"hidden" json:"hidden,omitempty"`

	ImportSpec `yaml:",inline"`
}

// DataSpec names the data set, its split and what is done to a batch.
type DataSpec struct {
	Source     string             `yaml:"source" json:"source"`
	Target     string             `yaml:"target" json:"target,omitempty"`
	Image      string             `yaml:"image" json:"image,omitempty"` // CxHxW of pixel columns
	Split      map[string]float64 `yaml:"split" json:"split,omitempty"` // role to share
	SplitSeed  uint64             `yaml:"split_seed" json:"split_seed"`
	Shift      int                `yaml:"shift" json:"shift"`             // random translation, pixels
	Rotate     float64            `yaml:"rotate" json:"rotate"`           // random rotation, degrees
	Zoom       float64            `yaml:"zoom" json:"zoom"`               // random zoom, share
	Noise      float64            `yaml:"noise" json:"noise"`             // Gaussian noise, share of the pixel range
	FlipLabels float64            `yaml:"flip_labels" json:"flip_labels"` // share of training labels replaced by a random other class, to make a bad model on purpose
}

// OptimSpec are the settings of AdamW and the loss.
type OptimSpec struct {
	LR             float64 `yaml:"lr" json:"lr"`
	Beta1          float64 `yaml:"beta1" json:"beta1"`
	Beta2          float64 `yaml:"beta2" json:"beta2"`
	Eps            float64 `yaml:"eps" json:"eps"`
	WeightDecay    float64 `yaml:"weight_decay" json:"weight_decay"`
	ClipNorm       float64 `yaml:"clip_norm" json:"clip_norm"` // 0: no clipping
	LabelSmoothing float64 `yaml:"label_smoothing" json:"label_smoothing"`
}

// ScheduleSpec is linear warm-up and cosine decay.
type ScheduleSpec struct {
	Warmup float64 `yaml:"warmup" json:"warmup"` // share of all steps
	Final  float64 `yaml:"final" json:"final"`   // share of the peak learning rate
}

// Default returns the specification that missing fields are taken from.
func Default() Spec {
	return Spec{
		Version: 1, Name: "model",
		Model:  defaultModel("vit"),
		Data:   DataSpec{Source: "builtin:digits", SplitSeed: 1},
		Optim:  OptimSpec{LR: 2e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.05, ClipNorm: 1, LabelSmoothing: 0.1},
		Epochs: 60, Batch: 64, Seed: 1,
		Schedule: ScheduleSpec{Warmup: 0.05, Final: 0.01},
	}
}

// defaultModel has the defaults of a family: those of another are none of its settings.
func defaultModel(family string) ModelSpec {
	switch family {
	case "mlp":
		return ModelSpec{Family: family, Dim: 64, Depth: 3}
	case "onnx":
		return ModelSpec{Family: family, ImportSpec: ImportSpec{Head: "linear", Pool: "mean"}}
	}
	return ModelSpec{Family: "vit", Patch: 2, Dim: 64, Depth: 3, Heads: 4, Hidden: 128}
}

// Import sets the family "onnx" and its file, with the defaults of what was not said.
func (m *ModelSpec) Import(from string) {
	if m.Family != "onnx" {
		*m = defaultModel("onnx")
	}
	m.From = from
}

// maxSpecBytes bounds a specification file.
const maxSpecBytes = 1 << 20

// Parse reads a specification. Unknown fields are errors that quote the line.
func Parse(name string, b []byte) (Spec, error) {
	s, err := decode(name, b, false)
	if err != nil {
		return s, err
	}
	return s, fault.At(name, s.Validate())
}

// ParseImport reads the specification of a fine-tuning whose file is said elsewhere: Model.Import and Validate come after.
func ParseImport(name string, b []byte) (Spec, error) { return decode(name, b, true) }

func decode(name string, b []byte, imports bool) (Spec, error) {
	s := Default()
	if len(b) > maxSpecBytes {
		return s, fault.New(fault.Exhausted, name, "the specification has %d bytes, the limit is %d", len(b), maxSpecBytes)
	}
	first := struct{ Model struct{ Family string } }{}
	if imports {
		first.Model.Family = "onnx"
	}
	if yaml.Unmarshal(b, &first) == nil { // what is wrong, the strict decoder says better
		s.Model = defaultModel(first.Model.Family)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := dec.Decode(&s); err != nil {
		return s, fault.New(fault.Malformed, name, "%s", yaml.FormatError(err, false, true)).
			WithHint("the fields are: version, name, model, data, optimizer, schedule, epochs, batch, seed, precision, checkpoint_every")
	}
	return s, nil
}

// Validate checks ranges.
func (s Spec) Validate() error {
	type rule struct {
		ok    bool
		field string
		want  string
	}
	imports := s.Model.Family == "onnx"
	for _, r := range []rule{
		{s.Version == 1, "version", "1"},
		{slices.Contains([]string{"vit", "mlp", "onnx"}, s.Model.Family), "model.family", `"vit", "mlp" or "onnx"`},
		{imports || between(s.Model.Dim, 1, 1<<14), "model.dim", "1 to 16384"},
		{imports || between(s.Model.Depth, 1, 1<<10), "model.depth", "1 to 1024"},
		{!imports || s.Model.Dim == 0 && s.Model.Depth == 0, "model.dim, depth", `absent: the family "onnx" takes its sizes from the file`},
		{s.Model.Family == "vit" || s.Model.Patch == 0 && s.Model.Heads == 0 && s.Model.Hidden == 0, "model.patch, heads, hidden", `absent: only the family "vit" has them`},
		{imports == (s.Model.From != ""), "model.from", `the file of a model, for the family "onnx" and no other`},
		{!imports || slices.Contains([]string{"linear", "logits", "probability"}, s.Model.Head), "model.head", `"linear", "logits" or "probability"`},
		{!imports || slices.Contains([]string{"mean", "first"}, s.Model.Pool), "model.pool", `"mean" or "first"`},
		{between(s.Epochs, 1, 1<<20), "epochs", "at least 1"},
		{between(s.Batch, 1, 1<<16), "batch", "1 to 65536"},
		{s.Seed < 1<<53, "seed", "below 2^53"},
		{s.Optim.LR > 0 && s.Optim.LR < 10, "optimizer.lr", "in (0, 10)"},
		{unit(s.Optim.Beta1) && unit(s.Optim.Beta2), "optimizer.beta1, beta2", "in [0, 1)"},
		{s.Optim.Eps > 0, "optimizer.eps", "positive"},
		{s.Optim.WeightDecay >= 0 && s.Optim.ClipNorm >= 0, "optimizer.weight_decay, clip_norm", "not negative"},
		{unit(s.Optim.LabelSmoothing), "optimizer.label_smoothing", "in [0, 1)"},
		{unit(s.Schedule.Warmup) && unit(s.Schedule.Final), "schedule", "in [0, 1)"},
		{unit(s.Data.FlipLabels), "data.flip_labels", "in [0, 1)"},
		{between(s.Data.Shift, 0, 64) && s.Data.Rotate >= 0 && s.Data.Rotate <= 180 && unit(s.Data.Zoom) && unit(s.Data.Noise), "data", "shift in [0, 64], rotate in [0, 180], zoom and noise in [0, 1)"},
		{slices.Contains([]string{"", "f32", "bf16"}, s.Precision), "precision", `"f32" or "bf16"`},
		{s.CheckpointEvery >= 0, "checkpoint_every", "not negative"},
	} {
		if !r.ok {
			return fault.New(fault.Malformed, r.field, "the value is out of range").WithHint("%s must be %s", r.field, r.want)
		}
	}
	return nil
}

func between(v, lo, hi int) bool { return v >= lo && v <= hi }
func unit(v float64) bool        { return v >= 0 && v < 1 }

// Digest names everything in the specification that the trained bits depend on.
func (s Spec) Digest() (record.Digest, error) {
	s.CheckpointEvery = 0
	if s.Precision == "f32" {
		s.Precision = "" // what is meant where nothing is said
	}
	if s.Model.Digest != "" {
		s.Model.From = "" // wherever it lies
	}
	return record.DigestOf(s)
}

func (s Spec) adamw() optim.AdamWConfig {
	return optim.AdamWConfig{Beta1: s.Optim.Beta1, Beta2: s.Optim.Beta2, Eps: s.Optim.Eps, WeightDecay: s.Optim.WeightDecay}
}

func (s Spec) schedule(steps int) optim.Schedule {
	return optim.Schedule{Peak: s.Optim.LR, Final: s.Optim.LR * s.Schedule.Final, Warmup: max(1, int(s.Schedule.Warmup*float64(steps))), Steps: steps}
}

// String names the model in a few words.
func (m ModelSpec) String() string {
	switch m.Family {
	case "onnx":
		return fmt.Sprintf("%s, fine-tuned with the head %q", filepath.Base(m.From), m.Head)
	case "vit":
		return fmt.Sprintf("vision transformer, %d blocks of %d channels, %d heads, patches of %dx%d", m.Depth, m.Dim, m.Heads, m.Patch, m.Patch)
	}
	return fmt.Sprintf("perceptron, %d hidden layers of %d channels", m.Depth, m.Dim)
}
