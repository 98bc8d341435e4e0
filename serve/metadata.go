package serve

import "muster/graph"

// metadata is the model metadata of the protocol.
func (m *Model) metadata() map[string]any {
	return map[string]any{
		"name": m.Name, "versions": []string{m.Version}, "platform": "muster_onnx",
		"inputs": tensors(m.inputs), "outputs": tensors(m.outputs),
		"parameters": map[string]any{"release": m.Release, "digest": m.Digest},
	}
}

func tensors(vs []*graph.Value) []map[string]any {
	out := []map[string]any{}
	for _, v := range vs {
		out = append(out, map[string]any{"name": v.Name, "datatype": oipName(v.DType), "shape": oipShape(v)})
	}
	return out
}

// config is Triton's model configuration: dims leave out the batch axis.
func (m *Model) config() map[string]any {
	list := func(vs []*graph.Value) []map[string]any {
		out := []map[string]any{}
		for _, v := range vs {
			out = append(out, map[string]any{"name": v.Name, "data_type": "TYPE_" + oipName(v.DType), "dims": oipShape(v)[min(1, len(v.Shape)):]})
		}
		return out
	}
	b := m.Batch.withDefaults()
	return map[string]any{
		"name": m.Name, "platform": "muster_onnx", "backend": "muster", "max_batch_size": b.MaxRows,
		"input": list(m.inputs), "output": list(m.outputs),
		"dynamic_batching": map[string]any{"max_queue_delay_microseconds": max(b.Wait.Microseconds(), 0)},
	}
}
