package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"muster/graph"
	"muster/internal/feed"
	"muster/op"
	"muster/rng"
	"muster/tensor"
)

// single is a graph that the driver writes: one operator, or a few.
type single struct {
	name  string
	bytes int // that must be read and written; 0: inputs and outputs, constants included
	build func(b *builder)
	opset int
}

// builder makes small graphs short to write.
type builder struct {
	*graph.Builder
	values map[string]*tensor.Tensor
}

// in is a random float32 input.
func (b *builder) in(shape ...int) *graph.Value { return b.typed(tensor.Float32, shape...) }

func (b *builder) typed(d tensor.DType, shape ...int) *graph.Value {
	dims := make([]graph.Dim, len(shape))
	for i, n := range shape {
		dims[i] = graph.D(n)
	}
	return b.Input(fmt.Sprintf("in%d", len(b.G.Inputs)), d, dims...)
}

// positive is an input of values in [0.1, 1.1).
func (b *builder) positive(shape ...int) *graph.Value {
	v := b.in(shape...)
	x, s := tensor.New(tensor.Float32, shape...), rng.New(1).Named(v.Name).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = 0.1 + s.Float32()
	}
	b.values[v.Name] = x
	return v
}

// weight is a random constant.
func (b *builder) weight(shape ...int) *graph.Value {
	x, s := tensor.New(tensor.Float32, shape...), rng.New(2).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = s.Float32() - 0.5
	}
	return b.Init("w", x)
}

func (b *builder) weight8(d tensor.DType, shape ...int) *graph.Value {
	x, s := tensor.New(d, shape...), rng.New(2).Stream()
	for i := range x.Data {
		x.Data[i] = byte(s.Intn(256))
	}
	return b.Init("w", x)
}

func (b *builder) out(vs ...*graph.Value) {
	for i, v := range vs {
		b.Output(fmt.Sprintf("out%d", i), v)
	}
}

// graph builds the graph of s, with every shape inferred.
func (s single) graph() (*builder, error) {
	b := &builder{graph.NewBuilder(graph.New("single")), map[string]*tensor.Tensor{}}
	if s.opset > 0 {
		b.G.Model.Opsets[""], b.G.Model.IRVersion = s.opset, 11
	}
	s.build(b)
	return b, op.Infer(b.G)
}

// write saves the graph of s and its inputs in dir and returns the task that opens it.
func (s single) write(dir string) (task, int, error) {
	b, err := s.graph()
	if err != nil {
		return task{}, 0, err
	}
	bytes := s.bytes
	if bytes == 0 {
		for _, list := range [][]*graph.Value{b.G.Inputs, b.G.Outputs, b.G.Inits} {
			for _, v := range list {
				if shape, ok := v.Static(); ok {
					bytes += v.DType.Bytes(shape.Elems())
				}
			}
		}
	}
	stem := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" /:,()", r) {
			return '_'
		}
		return r
	}, s.name)
	path := filepath.Join(dir, stem+".onnx")
	if err := b.G.Save(path); err != nil {
		return task{}, 0, err
	}
	in, err := inputsOf(path, feed.Config{Values: b.values, Seed: 1}, dir)
	return task{Cmd: "open", Kind: "onnx", File: path, Inputs: in, Out: dir}, bytes, err
}

// product is A [M, K] times B [K, N]; packed says that B is a constant, as weights are.
func product(M, K, N int, packed bool) single {
	return single{name: "product", build: func(b *builder) {
		a := b.in(M, K)
		if packed {
			b.out(b.Op("MatMul", a, b.weight(K, N)))
		} else {
			b.out(b.Op("MatMul", a, b.in(K, N)))
		}
	}}
}

// transposed is Gemm with both operands fresh, as gradients have them: A^T B (of weights) or A B^T (of inputs).
func transposed(M, K, N int, first bool) single {
	return single{name: "transposed", build: func(b *builder) {
		if first {
			b.out(b.OpA("Gemm", attr(graph.Int("transA", 1)), b.in(K, M), b.in(K, N)))
		} else {
			b.out(b.OpA("Gemm", attr(graph.Int("transB", 1)), b.in(M, K), b.in(N, K)))
		}
	}}
}

// product8 is MatMulInteger of uint8 and int8.
func product8(M, K, N int) single {
	return single{name: "product8", build: func(b *builder) {
		b.out(b.Op("MatMulInteger", b.typed(tensor.Uint8, M, K), b.weight8(tensor.Int8, K, N)))
	}}
}

// chain is ten small operators in a row: what a call costs.
func chain() single {
	return single{name: "chain", build: func(b *builder) {
		x := b.in(8)
		for i := 0; i < 5; i++ {
			x = b.Op("Sigmoid", b.OpA("Softmax", []graph.Attr{graph.Int("axis", -1)}, x))
		}
		b.out(x)
	}}
}

// attr shortens the attribute lists below.
func attr(a ...graph.Attr) []graph.Attr { return a }

// elementwise lists the operators that memory should bound, at sizes of real models: activations of
// a transformer (512 tokens of 768 or 3072 channels), of a convolutional net (64 channels of 56x56).
func elementwise() []single {
	const T, C, H = 512, 768, 3072
	var list []single
	add := func(name string, f func(b *builder)) { list = append(list, single{name: name, build: f}) }
	unary := func(name string, attrs ...graph.Attr) {
		add(name, func(b *builder) { b.out(b.OpA(name, attrs, b.in(T, H))) })
	}
	for _, n := range []string{"Relu", "Neg", "Abs", "Sigmoid", "Tanh", "Erf", "Exp", "Gelu", "HardSwish", "LeakyRelu", "Elu", "Softplus", "Floor", "Round", "Sin"} {
		unary(n)
	}
	add("Gelu tanh", func(b *builder) { b.out(b.OpA("Gelu", attr(graph.Str("approximate", "tanh")), b.in(T, H))) })
	for _, n := range []string{"Log", "Sqrt", "Reciprocal"} {
		add(n, func(b *builder) { b.out(b.Op(n, b.positive(T, H))) })
	}
	for _, n := range []string{"Add", "Sub", "Mul", "Max", "Min", "Greater", "Equal"} {
		add(n, func(b *builder) { b.out(b.Op(n, b.in(T, H), b.in(T, H))) })
	}
	add("Div", func(b *builder) { b.out(b.Op("Div", b.in(T, H), b.positive(T, H))) })
	add("Add row", func(b *builder) { b.out(b.Op("Add", b.in(T, H), b.in(H))) })
	add("Mul column", func(b *builder) { b.out(b.Op("Mul", b.in(T, H), b.in(T, 1))) })
	add("Add channel", func(b *builder) { b.out(b.Op("Add", b.in(1, 64, 56, 56), b.in(64, 1, 1))) })
	add("Pow 2", func(b *builder) { b.out(b.Op("Pow", b.in(T, H), b.Scalar(2))) })
	add("Clip", func(b *builder) { b.out(b.Op("Clip", b.in(T, H), b.Scalar(-1), b.Scalar(1))) })
	add("Where", func(b *builder) { b.out(b.Op("Where", b.typed(tensor.Bool, T, H), b.in(T, H), b.in(T, H))) })
	add("Cast to float16", func(b *builder) { b.out(b.OpA("Cast", attr(graph.Int("to", 10)), b.in(T, H))) })
	add("Cast to int32", func(b *builder) { b.out(b.OpA("Cast", attr(graph.Int("to", 6)), b.in(T, H))) })
	add("Cast int64 to float32", func(b *builder) { b.out(b.OpA("Cast", attr(graph.Int("to", 1)), b.typed(tensor.Int64, T, C))) })
	add("Softmax", func(b *builder) { b.out(b.OpA("Softmax", attr(graph.Int("axis", -1)), b.in(12, T, T))) })
	add("LogSoftmax", func(b *builder) { b.out(b.OpA("LogSoftmax", attr(graph.Int("axis", -1)), b.in(12, T, T))) })
	add("Softmax axis 1", func(b *builder) { b.out(b.OpA("Softmax", attr(graph.Int("axis", 1)), b.in(4, 64, 56*56))) })
	add("LayerNormalization", func(b *builder) { b.out(b.Op("LayerNormalization", b.in(T, C), b.in(C), b.in(C))) })
	list = append(list, single{name: "RMSNormalization", opset: 23, build: func(b *builder) { b.out(b.Op("RMSNormalization", b.in(T, C), b.in(C))) }})
	add("InstanceNormalization", func(b *builder) { b.out(b.Op("InstanceNormalization", b.in(4, 64, 56, 56), b.in(64), b.in(64))) })
	add("GroupNormalization (by hand)", func(b *builder) {
		x := b.Op("Reshape", b.in(4, 64, 56, 56), b.Ints(4, 8, -1))
		b.out(b.Op("InstanceNormalization", x, b.Init("one", ones(8)), b.Init("zero", tensor.New(tensor.Float32, 8))))
	})
	add("BatchNormalization", func(b *builder) {
		b.out(b.Op("BatchNormalization", b.in(4, 64, 56, 56), b.in(64), b.in(64), b.in(64), b.positive(64)))
	})
	for _, n := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2"} {
		add(n+" rows", func(b *builder) { b.out(b.Op(n, b.in(T, H), b.Ints(-1))) })
		add(n+" columns", func(b *builder) { b.out(b.Op(n, b.in(T, H), b.Ints(0))) })
	}
	add("ReduceMean image", func(b *builder) { b.out(b.Op("ReduceMean", b.in(4, 64, 56, 56), b.Ints(2, 3))) })
	add("ArgMax", func(b *builder) { b.out(b.OpA("ArgMax", attr(graph.Int("axis", -1)), b.in(T, H))) })
	add("CumSum", func(b *builder) { b.out(b.Op("CumSum", b.in(T, H), b.Init("axis", tensor.OfInt64([]int64{1})))) })
	add("Gather rows", func(b *builder) { b.out(b.Op("Gather", b.weight(30522, C), b.typed(tensor.Int64, T))) })
	list[len(list)-1].bytes = 2*4*T*C + 8*T
	add("GatherElements", func(b *builder) {
		b.out(b.OpA("GatherElements", attr(graph.Int("axis", 1)), b.in(T, H), b.typed(tensor.Int64, T, H)))
	})
	for _, p := range [][]int64{{0, 2, 1, 3}, {0, 2, 3, 1}, {0, 1, 3, 2}} {
		add(fmt.Sprint("Transpose ", p), func(b *builder) { b.out(b.OpA("Transpose", attr(graph.Ints("perm", p...)), b.in(1, T, 12, 64))) })
	}
	add("Transpose image", func(b *builder) { b.out(b.OpA("Transpose", attr(graph.Ints("perm", 0, 2, 3, 1)), b.in(4, 64, 56, 56))) })
	add("Concat last", func(b *builder) { b.out(b.OpA("Concat", attr(graph.Int("axis", -1)), b.in(T, C), b.in(T, C))) })
	add("Concat channels", func(b *builder) {
		b.out(b.OpA("Concat", attr(graph.Int("axis", 1)), b.in(4, 64, 56, 56), b.in(4, 32, 56, 56)))
	})
	add("Split", func(b *builder) {
		b.out(b.Node("", "Split", 3, []*graph.Value{b.in(T, 3*C)}, graph.Int("axis", -1), graph.Int("num_outputs", 3))...)
	})
	add("Slice", func(b *builder) { b.out(b.Op("Slice", b.in(T, H), b.Ints(0), b.Ints(1024), b.Ints(1))) })
	list[len(list)-1].bytes = 2 * 4 * T * 1024
	add("Pad", func(b *builder) { b.out(b.Op("Pad", b.in(4, 64, 56, 56), b.Ints(0, 0, 1, 1, 0, 0, 1, 1))) })
	add("Expand", func(b *builder) { b.out(b.Op("Expand", b.in(T, 1, C), b.Ints(T, 4, C))) })
	add("Tile", func(b *builder) { b.out(b.Op("Tile", b.in(T, C), b.Ints(1, 4))) })
	add("Resize nearest x2", func(b *builder) {
		b.out(b.OpA("Resize", attr(graph.Str("mode", "nearest"), graph.Str("coordinate_transformation_mode", "asymmetric"), graph.Str("nearest_mode", "floor")),
			b.in(1, 64, 56, 56), nil, b.Init("scales", tensor.OfFloat32([]float32{1, 1, 2, 2}, 4))))
	})
	add("Resize linear x2", func(b *builder) {
		b.out(b.OpA("Resize", attr(graph.Str("mode", "linear")), b.in(1, 64, 56, 56), nil, b.Init("scales", tensor.OfFloat32([]float32{1, 1, 2, 2}, 4))))
	})
	add("MaxPool 3x3 s2", func(b *builder) {
		b.out(b.OpA("MaxPool", attr(graph.Ints("kernel_shape", 3, 3), graph.Ints("strides", 2, 2), graph.Ints("pads", 1, 1, 1, 1)), b.in(1, 64, 112, 112)))
	})
	add("AveragePool 2x2", func(b *builder) {
		b.out(b.OpA("AveragePool", attr(graph.Ints("kernel_shape", 2, 2), graph.Ints("strides", 2, 2)), b.in(1, 64, 112, 112)))
	})
	add("GlobalAveragePool", func(b *builder) { b.out(b.Op("GlobalAveragePool", b.in(4, 512, 14, 14))) })
	quant := func(name string) {
		add(name, func(b *builder) {
			scale, zero := b.Scalar(0.02), b.Init("zero", tensor.OfUint8([]uint8{128}))
			if name == "DequantizeLinear" {
				b.out(b.Op(name, b.typed(tensor.Uint8, T, H), scale, zero))
				return
			}
			b.out(b.Op(name, b.in(T, H), scale, zero))
		})
	}
	quant("QuantizeLinear")
	quant("DequantizeLinear")
	add("DynamicQuantizeLinear", func(b *builder) { b.out(b.Node("", "DynamicQuantizeLinear", 3, []*graph.Value{b.in(T, H)})...) })
	return list
}

func ones(n int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, n)
	for i := range t.Float32s() {
		t.Float32s()[i] = 1
	}
	return t
}
