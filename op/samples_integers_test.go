package op_test

import "muster/tensor"

// integers are products of 8-bit matrices with float results, and the forms of zero points.
func integers(add func(...sample)) {
	scale := func(v float32) arg { return konst(fx([]float32{v})) }
	one := func(d tensor.DType, v byte) arg {
		return arg{t: &tensor.Tensor{DType: d, Shape: tensor.Shape{}, Data: []byte{v}}}
	}
	for _, p := range [][2][]int{{{4, 3}, {3, 5}}, {{2, 4, 64}, {64, 33}}, {{1, 70}, {70, 300}}, {{180, 33}, {33, 70}}, {{0, 3}, {3, 2}}, {{3, 0}, {0, 2}}, {{2, 4, 8}, {2, 8, 5}}} {
		a, b := p[0], p[1]
		n := b[len(b)-1]
		for _, da := range []tensor.DType{tensor.Uint8, tensor.Int8} {
			for _, db := range []tensor.DType{tensor.Uint8, tensor.Int8} {
				x, w := raw(da, a...), konst(raw(db, b...))
				perColumn := konst(raw(db, n))
				add(sample{op: "MatMulInteger", in: at(x, w, one(da, 200), perColumn)}, sample{op: "MatMulInteger", in: at(x, w, none, konst(one(db, 130)))},
					sample{domain: "com.microsoft", op: "MatMulIntegerToFloat", in: at(x, w, scale(0.02), scale(0.01), one(da, 200), konst(one(db, 130)), ff(n)), tol: 1e-4},
					sample{domain: "com.microsoft", op: "MatMulIntegerToFloat", in: at(x, w, fx([]float32{0.02}, 1), konst(fu(0.001, 0.01, n)), none, perColumn), tol: 1e-4},
					sample{op: "QLinearMatMul", in: at(x, scale(0.02), konst(one(da, 3)), w, konst(fu(0.01, 0.02, n)), perColumn, scale(0.9), konst(one(da, 250)))})
				if da == tensor.Uint8 {
					add(sample{domain: "com.microsoft", op: "DynamicQuantizeMatMul", in: at(ff(a...), w, scale(0.01), konst(one(db, 130)), konst(ff(n))), tol: 1e-4},
						sample{domain: "com.microsoft", op: "DynamicQuantizeMatMul", in: at(ff(a...), w, konst(fu(0.001, 0.01, n)), perColumn), tol: 1e-4})
				}
			}
		}
		add(sample{domain: "com.microsoft", op: "MatMulIntegerToFloat", in: at(u8(a...), s8(b...), fx([]float32{0.02}), fx([]float32{0.01})), tol: 1e-4},
			sample{domain: "com.microsoft", op: "DynamicQuantizeMatMul", in: at(ff(a...), konst(s8(b...)), scale(0.01)), tol: 1e-4})
	}
}
