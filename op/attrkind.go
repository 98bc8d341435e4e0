package op

import (
	"strings"

	"muster/fault"
	"muster/graph"
)

// kindNames are the attributes of the table by what they hold: a name means one thing in all operators, but for those
// in kindOf. TestAttributeKinds compares both with the table.
var kindNames = map[graph.AttrKind]string{
	graph.AttrFloat: `alpha beta beta1 beta2 bias clip cubic_coeff_a decay_factor epsilon extrapolation_value gamma high lambd low mask_filter_value
		max mean min momentum norm_coefficient norm_coefficient_post ratio scale seed softcap spatial_scale swiglu_limit value_float
		weight_decay`,
	graph.AttrString: `activation activation_type approximate auto_pad coordinate_transformation_mode direction equation keep_aspect_ratio_policy mode
		nearest_mode padding_mode reduction round_mode update_rule`,
	graph.AttrTensor: "value",
	graph.AttrGraph:  "body else_branch then_branch",
	graph.AttrFloats: "activation_alpha activation_beta activation_params scales value_floats",
	graph.AttrInts: `axes dilations directions ends kernel_shape output_padding output_shape pads perm pooled_shape qkv_hidden_sizes scan_input_axes
		scan_input_directions scan_output_axes scan_output_directions shape split starts strides value_ints`,
	graph.AttrStrings: "activations",
	graph.AttrType:    "type",
	graph.AttrInt: `accuracy_level align_corners allowzero antialias axis batch_axis batch_dims bits block_size blocksize causal ceil_mode
		center_point_box channels_last chunk_size count_include_pad detect_negative detect_positive do_rotary dtype end exclude_outside
		exclusive fmod gather_axis group groups heads hidden_size ignore_index input_forget interleaved inverse is_causal
		is_packed_batching joint K k k_offset keepdims kv_heads kv_num_heads largest layout left_window_size linear_before_reset
		local_window_size mask_index_type muster_captures N new_axis noop_with_empty_axes normalize_routing_weights num_groups num_heads num_outputs num_scan_inputs
		offset_group onesided opset output_datatype output_dtype output_height output_width p packed past_present_share_buffer periodic
		precision q_num_heads q_offset qk_matmul_output_mode quantize_axis rank reverse right_window_size rms rotary_embedding_dim
		rotary_interleaved sample_size sampling_ratio saturate select_last_index size smooth_softmax softmax_precision sorted spatial
		start stash_type storage_order swiglu_fusion time_axis to training_mode transA transB transBatchA transBatchB transposed
		unidirectional upper use_sparse_mixer v_offset v_size value_int weight_prepacked`,
}

// kindOf are the exceptions, by operator and name.
var kindOf = map[string]graph.AttrKind{
	"Attention.layout":         graph.AttrString,
	"AttentionGrad.layout":     graph.AttrString,
	"Dropout.seed":             graph.AttrInt,
	"GroupNorm.activation":     graph.AttrInt,
	"Linear.precision":         graph.AttrString,
	"MoE.activation_alpha":     graph.AttrFloat,
	"MoE.activation_beta":      graph.AttrFloat,
	"Pad.value":                graph.AttrFloat,
	"SkipGroupNorm.activation": graph.AttrInt,
}

var attrKinds = func() map[string]graph.AttrKind {
	m := map[string]graph.AttrKind{}
	for k, names := range kindNames {
		for _, n := range strings.Fields(names) {
			m[n] = k
		}
	}
	return m
}()

var kindText = map[graph.AttrKind]string{graph.AttrFloat: "a float", graph.AttrInt: "an integer", graph.AttrString: "a string", graph.AttrTensor: "a tensor",
	graph.AttrGraph: "a graph", graph.AttrFloats: "floats", graph.AttrInts: "integers", graph.AttrStrings: "strings", graph.AttrTensors: "tensors",
	graph.AttrGraphs: "graphs", graph.AttrType: "a type"}

// checkKind refuses an attribute that holds something else than its name says: readers would take the default for it.
func checkKind(n *graph.Node, a *graph.Attr) error {
	want, ok := kindOf[n.Op+"."+a.Name]
	if !ok {
		want = attrKinds[a.Name]
	}
	if a.Kind == want || a.Ref != "" {
		return nil
	}
	return fault.New(fault.Malformed, n.Place(), "attribute %q is %s, not %s", a.Name, kindText[a.Kind], kindText[want])
}
