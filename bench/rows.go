package main

import (
	"fmt"
	"path/filepath"
	"time"

	"muster/internal/feed"
)

// row is one line of a table: a task per engine on the same data.
type row struct {
	name  string
	rtol  float64 // of the comparison of outputs; 0: no outputs to compare
	flops float64 // of one run; 0: what Muster's plan says
	bytes int     // that must be moved; 0: not a row of memory
	slice float64 // share of the configured time that a round takes
	fresh bool    // in processes of its own, because memory is compared
	loads bool    // loading is measured, not running
	// prepare writes files to dir and returns a task for every engine that takes part.
	prepare func(r *row, dir string) (map[string]task, error)
}

// table is a group of rows.
type table struct {
	id, title, note string
	kind            string   // "speed", "memory", "call", "load" or "train": the columns
	peers           []string // in the order of columns
	must            float64  // least speed relative to the fastest peer; 0: no target
	rows            []row
}

// modelRow runs a model file in Muster and ONNX Runtime.
func modelRow(name, file string, shapes map[string][]int, rtol float64) row {
	return row{name: name, rtol: rtol, slice: 1, prepare: func(r *row, dir string) (map[string]task, error) {
		path := filepath.Join(cache(), "models", file)
		in, err := inputsOf(path, feed.Config{Shapes: shapes, Seed: 1}, dir)
		t := task{Cmd: "open", Kind: "onnx", File: path, Inputs: in, Out: dir}
		return map[string]task{"muster": t, "ort": t}, err
	}}
}

// singleRow runs a small graph in Muster and ONNX Runtime, and whatever torch has for it.
func singleRow(name string, s single, torch ...task) row {
	return row{name: name, rtol: 1e-4, slice: 0.15, prepare: func(r *row, dir string) (map[string]task, error) {
		t, bytes, err := s.write(dir)
		if r.bytes < 0 {
			r.bytes = bytes
		}
		tasks := map[string]task{"muster": t, "ort": t}
		for _, p := range torch {
			tasks[p.Kind] = p
		}
		return tasks, err
	}}
}

func productRow(M, K, N int, packed bool) row {
	torch := []task{{Cmd: "open", Kind: "onednn", Shape: []int{M, K, N}, Packed: packed}}
	if !packed {
		torch = append(torch, task{Cmd: "open", Kind: "mm", Shape: []int{M, K, N}})
	}
	r := singleRow(fmt.Sprintf("%dx%dx%d", M, K, N), product(M, K, N, packed), torch...)
	r.flops = 2 * float64(M) * float64(K) * float64(N)
	return r
}

func transposedRow(M, K, N int, first bool) row {
	r := singleRow(fmt.Sprintf("%dx%dx%d %s", M, K, N, map[bool]string{true: "A^T B", false: "A B^T"}[first]), transposed(M, K, N, first),
		task{Cmd: "open", Kind: "mm", Shape: []int{M, K, N}, Packed: first, Model: "transposed"})
	r.flops = 2 * float64(M) * float64(K) * float64(N)
	return r
}

func product8Row(M, K, N int) row {
	r := singleRow(fmt.Sprintf("%dx%dx%d", M, K, N), product8(M, K, N), task{Cmd: "open", Kind: "int8", Shape: []int{M, K, N}})
	r.flops = 2 * float64(M) * float64(K) * float64(N)
	return r
}

func trainRow(name, model string, c trainConfig) row {
	rtol := 2e-3
	if c.Half {
		rtol = 2e-2
	}
	return row{name: name, rtol: rtol, slice: 2, fresh: true, prepare: func(r *row, dir string) (map[string]task, error) {
		in, weights, err := trainData(model, c, dir)
		t := task{Cmd: "open", Kind: "train", Model: model, Config: &c, Weights: weights, Inputs: in, Steps: 3, Out: dir}
		return map[string]task{"muster": t, "torch": t, "compile": t}, err
	}}
}

// tables is what performance.md shows, in order.
func tables() []table {
	tokens := func(n, T int) map[string][]int {
		return map[string][]int{"input_ids": {n, T}, "attention_mask": {n, T}, "token_type_ids": {n, T}}
	}
	var fresh, packed, small, int8s []row
	for _, n := range []int{64, 128, 256, 512, 1024, 2048} {
		fresh = append(fresh, productRow(n, n, n, false))
	}
	for _, s := range [][3]int{{128, 384, 1536}, {128, 768, 768}, {128, 768, 3072}, {128, 3072, 768}, {512, 768, 3072}, {2048, 768, 768}, {2048, 256, 1024}} {
		fresh = append(fresh, productRow(s[0], s[1], s[2], false))
		packed = append(packed, productRow(s[0], s[1], s[2], true))
	}
	for _, m := range []int{1, 4, 16, 32, 64} {
		small = append(small, productRow(m, 768, 3072, true), productRow(m, 3072, 768, true))
	}
	for _, s := range [][3]int{{128, 768, 768}, {128, 768, 3072}, {128, 3072, 768}, {512, 512, 512}, {1024, 1024, 1024}} {
		int8s = append(int8s, product8Row(s[0], s[1], s[2]))
	}
	grads := []row{productRow(256, 768, 50257, false)}
	for _, s := range [][3]int{{2048, 256, 1024}, {256, 768, 3072}, {256, 3072, 768}, {256, 768, 50257}} {
		grads = append(grads, transposedRow(s[1], s[0], s[2], true), transposedRow(s[0], s[2], s[1], false))
	}
	var memory []row
	for _, s := range elementwise() {
		r := singleRow(s.name, s)
		r.bytes, r.slice = -1, 0.1
		memory = append(memory, r)
	}
	call := singleRow("10 nodes of 8 elements", chain())
	load := func(name, file string, shapes map[string][]int) row {
		r := modelRow(name, file, shapes, 1e-4)
		r.loads = true
		return r
	}
	return []table{
		{id: "product", title: "Products, float32, both operands fresh", kind: "speed", peers: []string{"ort", "mm", "onednn"}, must: 0.9, rows: fresh,
			note: "MxKxN, packing included. ONNX Runtime is MLAS, mm is torch.mm (MKL), onednn is the oneDNN linear layer of PyTorch."},
		{id: "packed", title: "Products, float32, weights packed before", kind: "speed", peers: []string{"ort", "onednn"}, must: 0.9, rows: packed},
		{id: "small", title: "Products of few rows, weights packed before", kind: "speed", peers: []string{"ort", "onednn"}, rows: small},
		{id: "gradients", title: "Products of a training step", kind: "speed", peers: []string{"ort", "mm"}, must: 0.9, rows: grads,
			note: "A^T B is the gradient of weights, A B^T that of inputs; the largest are GPT-2's vocabulary over 256 tokens."},
		{id: "int8", title: "Products, uint8 x int8", kind: "speed", peers: []string{"ort", "int8"}, must: 0.85, rows: int8s,
			note: "int8 is torch._int_mm, oneDNN's product of int8 and int8."},
		{id: "models", title: "Transformers and convolutional nets, batch 1", kind: "speed", peers: []string{"ort"}, rows: []row{
			modelRow("MiniLM-L6, 128 tokens", "minilm-l6.ts.onnx", tokens(1, 128), 2e-5),
			modelRow("MiniLM-L6, dynamo", "minilm-l6.dynamo.onnx", tokens(1, 128), 2e-5),
			modelRow("BERT-base, 128 tokens", "bert-base.ts.onnx", tokens(1, 128), 2e-5),
			modelRow("BERT-base, dynamo", "bert-base.dynamo.onnx", tokens(1, 128), 2e-5),
			modelRow("ViT-B/16", "vit-b16.ts.onnx", map[string][]int{"batch": {1}}, 2e-5),
			modelRow("ResNet-50", "resnet50.ts.onnx", map[string][]int{"batch": {1}}, 2e-5),
			modelRow("MobileNetV2", "mobilenetv2.ts.onnx", map[string][]int{"batch": {1}}, 2e-5),
			modelRow("EfficientNet-B0", "efficientnet-b0.ts.onnx", map[string][]int{"batch": {1}}, 2e-5),
			modelRow("ResNet-18, 32x32", "resnet18-32.ts.onnx", map[string][]int{"batch": {1}}, 2e-5),
			modelRow("U-Net, 128x128", "unet.ts.onnx", map[string][]int{"batch": {1}}, 2e-5),
			modelRow("YOLO-type, 320x320", "yolo.ts.onnx", nil, 2e-5),
			modelRow("CRNN, 32x160", "crnn.ts.onnx", nil, 2e-5),
			modelRow("GPT-2, 8 tokens after 24", "gpt2.dynamo.onnx", map[string][]int{"tokens": {8}, "past": {24}, "attention_mask": {1, 32}}, 2e-5),
			modelRow("Silero VAD v5", "silero-v5.pretrained.onnx", map[string][]int{"input": {1, 576}, "state": {2, 1, 128}}, 2e-5),
		}},
		{id: "models8", title: "int8 (dynamic quantisation by ONNX Runtime)", kind: "speed", peers: []string{"ort"}, must: 1, rows: []row{
			modelRow("MiniLM-L6, 128 tokens, pre-trained", "minilm-int8.pretrained.onnx", tokens(1, 128), 0.05),
			modelRow("BERT-base, 128 tokens", "bert-base.int8.onnx", tokens(1, 128), 0.05),
		}},
		{id: "train", title: "Training steps", kind: "train", peers: []string{"torch", "compile"}, rows: []row{
			trainRow("GPT d=256 L=4 T=128 B=16", "gpt", trainConfig{Batch: 16, Tokens: 128, Vocab: 256, Dim: 256, Depth: 4, Heads: 4}),
			trainRow("GPT-2 124M T=64 B=4", "gpt", trainConfig{Batch: 4, Tokens: 64, Vocab: 50257, Dim: 768, Depth: 12, Heads: 12}),
			trainRow("GPT d=256 L=4 T=128 B=16, bf16", "gpt", trainConfig{Batch: 16, Tokens: 128, Vocab: 256, Dim: 256, Depth: 4, Heads: 4, Half: true}),
			trainRow("GPT-2 124M T=64 B=4, bf16", "gpt", trainConfig{Batch: 4, Tokens: 64, Vocab: 50257, Dim: 768, Depth: 12, Heads: 12, Half: true}),
			trainRow("ResNet-18 32x32 B=32", "resnet18", trainConfig{Batch: 32}),
		}, note: "Forward, backward and AdamW. PyTorch uses scaled_dot_product_attention and the fused AdamW; compile is torch.compile. bf16: products of bfloat16, in PyTorch by autocast."},
		{id: "memory", title: "Operators that memory bounds", kind: "memory", peers: []string{"ort"}, rows: memory,
			note: "The multiple is the time over the time that one pass over the operator's bytes takes at the measured bandwidth of memory of that size."},
		{id: "call", title: "What a call costs", kind: "call", peers: []string{"ort"}, rows: []row{call}},
		{id: "load", title: "Loading", kind: "load", peers: []string{"ort"}, rows: []row{
			load("MiniLM-L6 (91 MB)", "minilm-l6.ts.onnx", tokens(1, 128)),
			load("ResNet-50 (102 MB)", "resnet50.ts.onnx", map[string][]int{"batch": {1}}),
			load("BERT-base (438 MB)", "bert-base.ts.onnx", tokens(1, 128)),
		}},
	}
}

// limit is how long an engine may take for one answer.
const limit = 4 * time.Minute
