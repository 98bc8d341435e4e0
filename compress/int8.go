// Package compress holds the methods that make a model smaller or faster: graph
// and calibration data in, graph out. What each method costs is measured by
// package check, never claimed here.
package compress

import (
	"fmt"
	"math"
	"slices"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// Int8Config are the settings of static int8 quantization.
type Int8Config struct {
	// Clip is the share of calibration values cut off at each end of an activation's
	// range before the range is taken; 0 keeps the smallest and largest value.
	Clip float64 `json:"clip"`
	// Skip names MatMul nodes that stay in float32.
	Skip []string `json:"skip,omitempty"`
}

// Int8Layer says how one linear layer was quantized.
type Int8Layer struct {
	Node   string  `json:"node"`
	K      int     `json:"k"`
	N      int     `json:"n"`
	Low    float32 `json:"low"`    // range of the activation seen in calibration
	High   float32 `json:"high"`   //
	Scale  float32 `json:"scale"`  // of the activation
	Zero   uint8   `json:"zero"`   // of the activation
	Values int     `json:"values"` // activation values seen
}

// StaticInt8 quantizes every linear layer of g (MatMul with a constant [K, N] weight):
// weights to int8 per output channel, symmetric; activations to uint8 per tensor,
// with ranges from the calibration batches. The result is a standard Q/DQ graph:
//
//	QuantizeLinear -> DequantizeLinear -> MatMul(DequantizeLinear(w int8, scale [N], axis 1))
//
// that any ONNX runtime runs. calib are feeds of g, one slice per batch. g is not changed.
func StaticInt8(g *graph.Graph, calib [][]*tensor.Tensor, cfg Int8Config) (*graph.Graph, []Int8Layer, error) {
	if cfg.Clip < 0 || cfg.Clip >= 0.5 {
		return nil, nil, fault.New(fault.Malformed, "clip", "%g is outside [0, 0.5)", cfg.Clip)
	}
	if len(calib) == 0 {
		return nil, nil, fault.New(fault.Mismatch, "calibration", "there are no calibration batches").
			WithHint("give rows to the calibrate role")
	}
	q, _ := g.Clone()
	if err := op.Infer(q); err != nil {
		return nil, nil, err
	}
	clearFolded(q)
	layers := linearLayers(q, cfg.Skip)
	if len(layers) == 0 {
		return nil, nil, fault.New(fault.Unsupported, "graph "+g.Name, "there is no MatMul with constant weights to quantize")
	}
	ranges, err := observe(q, layers, calib, cfg.Clip)
	if err != nil {
		return nil, nil, err
	}
	report, err := quantize(q, layers, ranges)
	if err != nil {
		return nil, nil, err
	}
	q.Prune()
	if err := q.Sort(); err != nil {
		return nil, nil, err
	}
	return q, report, q.Verify()
}

// clearFolded forgets constants that shape inference computed, which are not part of the file.
func clearFolded(g *graph.Graph) {
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil {
				v.Const = nil
			}
		}
	}
}

func linearLayers(g *graph.Graph, skip []string) []*graph.Node {
	out := map[string]bool{}
	for _, s := range skip {
		out[s] = true
	}
	var layers []*graph.Node
	for _, n := range g.Nodes {
		if n.Domain == "" && n.Op == "MatMul" && !out[n.Name] && n.Inputs[0].Const == nil &&
			n.Inputs[1].Const != nil && n.Inputs[1].DType == tensor.Float32 && len(n.Inputs[1].Shape) == 2 {
			layers = append(layers, n)
		}
	}
	return layers
}

// span is the range of an activation.
type span struct {
	low, high float32
	n         int
}

// observe runs the calibration batches and returns the range of every activation that a layer reads.
func observe(g *graph.Graph, layers []*graph.Node, calib [][]*tensor.Tensor, clip float64) (map[*graph.Value]span, error) {
	probe, m := g.Clone()
	var order []*graph.Value
	seen := map[*graph.Value]bool{}
	probe.Outputs = nil
	for _, n := range layers {
		if x := n.Inputs[0]; !seen[x] {
			seen[x] = true
			order = append(order, x)
			probe.Outputs = append(probe.Outputs, m[x])
		}
	}
	probe.Prune()
	s, err := exec.New(probe, exec.Config{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	vals := make([][]float32, len(order))
	for _, feeds := range calib {
		out, err := s.Run(feeds...)
		if err != nil {
			return nil, err
		}
		for i, t := range out {
			vals[i] = append(vals[i], ends(t.Float32s(), clip)...)
		}
	}
	ranges := map[*graph.Value]span{}
	for i, v := range order {
		r := span{n: len(vals[i])}
		for _, x := range vals[i] {
			if x != x || math.IsInf(float64(x), 0) {
				return nil, fault.New(fault.Numeric, "value "+v.Name, "calibration made %g", x)
			}
			r.low, r.high = min(r.low, x), max(r.high, x) // 0 is always inside, so that it is exact
		}
		ranges[v] = r
	}
	return ranges, nil
}

// ends returns the values of one batch that can set its range: all of them, or
// the two quantiles at clip and 1-clip. (Ranges of batches are joined by their extremes.)
func ends(v []float32, clip float64) []float32 {
	if clip == 0 || len(v) == 0 {
		return v
	}
	s := append([]float32{}, v...)
	slices.Sort(s)
	k := int(clip * float64(len(s)))
	return []float32{s[k], s[len(s)-1-k]}
}

// quantize inserts the Q/DQ pairs.
func quantize(g *graph.Graph, layers []*graph.Node, ranges map[*graph.Value]span) ([]Int8Layer, error) {
	b := graph.NewBuilder(g)
	pairs := map[*graph.Value]*graph.Value{}
	var report []Int8Layer
	for _, n := range layers {
		x, w := n.Inputs[0], n.Inputs[1]
		r := ranges[x]
		scale, zero := activation(r)
		if pairs[x] == nil {
			s, z := b.Scalar(scale), b.Init("zero", tensor.OfUint8([]uint8{zero}))
			pairs[x] = b.Op("DequantizeLinear", b.Op("QuantizeLinear", x, s, z), s, z)
		}
		wq, ws, err := weights(n, w.Const)
		if err != nil {
			return nil, err
		}
		n.Inputs = []*graph.Value{pairs[x], b.OpA("DequantizeLinear", []graph.Attr{graph.Int("axis", 1)},
			b.Init(w.Name+".int8", wq), b.Init(w.Name+".scale", ws))}
		report = append(report, Int8Layer{Node: n.Name, K: wq.Shape[0], N: wq.Shape[1],
			Low: r.low, High: r.high, Scale: scale, Zero: zero, Values: r.n})
	}
	return report, nil
}

// activation returns scale and zero point that map [low, high] to 0..255 with 0 exact.
func activation(r span) (scale float32, zero uint8) {
	scale = (r.high - r.low) / 255
	if scale == 0 {
		return 1, 0
	}
	z := math.RoundToEven(float64(-r.low) / float64(scale))
	return scale, uint8(min(max(z, 0), 255))
}

// weights quantizes w [K, N] to int8, one symmetric scale per column: max|w|/127.
func weights(n *graph.Node, w *tensor.Tensor) (q, scale *tensor.Tensor, err error) {
	K, N := w.Shape[0], w.Shape[1]
	q, scale = tensor.New(tensor.Int8, K, N), tensor.New(tensor.Float32, N)
	src, dst, s := w.Float32s(), q.Int8s(), scale.Float32s()
	for j := 0; j < N; j++ {
		var top float32
		for k := 0; k < K; k++ {
			v := src[k*N+j]
			if v != v || math.IsInf(float64(v), 0) {
				return nil, nil, fault.New(fault.Numeric, n.Place(), "weight [%d, %d] is %g", k, j, v)
			}
			top = max(top, float32(math.Abs(float64(v))))
		}
		s[j] = top / 127
		if s[j] == 0 {
			s[j] = 1
		}
		for k := 0; k < K; k++ {
			v := math.RoundToEven(float64(src[k*N+j] / s[j]))
			dst[k*N+j] = int8(min(max(v, -127), 127))
		}
	}
	return q, scale, nil
}

// String says what was quantized.
func (l Int8Layer) String() string {
	return fmt.Sprintf("%s [%d x %d] activation [%.4g, %.4g] scale %.4g zero %d", l.Node, l.K, l.N, l.Low, l.High, l.Scale, l.Zero)
}
