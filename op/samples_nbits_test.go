package op_test

import (
	"muster/graph"
	"muster/tensor"
)

// fewBits are products with weights of 2, 4 and 8 bits, with and without zero points and bias.
func fewBits(add func(...sample)) {
	for _, c := range []struct{ m, k, n, bits, block int }{{1, 64, 40, 4, 16}, {5, 50, 33, 4, 32}, {17, 130, 20, 8, 64}, {3, 40, 5, 2, 16}, {0, 32, 8, 4, 32}, {2, 300, 9, 4, 256}} {
		blocks := (c.k + c.block - 1) / c.block
		b := konst(raw(tensor.Uint8, c.n, blocks, c.block*c.bits/8))
		scale := konst(fu(0.01, 0.1, c.n, blocks))
		packed := konst(raw(tensor.Uint8, c.n, (blocks*c.bits+7)/8))
		a := attrs(graph.Int("K", int64(c.k)), graph.Int("N", int64(c.n)), graph.Int("bits", int64(c.bits)), graph.Int("block_size", int64(c.block)))
		s := sample{domain: "com.microsoft", op: "MatMulNBits", attrs: a, noSym: true, tol: 2e-5}
		for _, in := range [][]arg{at(ff(c.m, c.k), b, scale), at(ff(c.m, c.k), b, scale, packed, none, ff(c.n)), at(ff(c.m, c.k), b, scale, konst(fu(0, 3, c.n, blocks)))} {
			s.in = in
			add(s)
		}
		// int8 rounds A to half a percent of its greatest element, times weights up to 25. Its size keeps it from the checks of gradients.
		s.in, s.tol = at(ff(50+c.m, 2, c.k), b, scale, packed), 0.2*float64(int(1)<<max(0, c.bits-4))
		s.absolute = true
		s.attrs = append(append(attrs(), a...), graph.Int("accuracy_level", 4))
		add(s)
	}
	tables(add)
}

// tables are quantized tables whose rows are taken.
func tables(add func(...sample)) {
	for _, c := range []struct {
		d         tensor.DType
		bits      int
		perEntry  int
		zeroShape int
	}{{tensor.Uint8, 4, 2, 2}, {tensor.Uint8, 8, 1, 3}, {tensor.Uint4, 4, 1, 3}, {tensor.Int4, 4, 1, 3}} {
		for _, shape := range [][]int{{7, 40}, {5, 2, 40}} {
			data, blocks, zero := append([]int{}, shape...), append([]int{}, shape...), append([]int{}, shape...)
			last := len(shape) - 1
			data[last], blocks[last], zero[last] = 40/c.perEntry, 3, c.zeroShape
			s := sample{domain: "com.microsoft", op: "GatherBlockQuantized", noSym: true,
				attrs: attrs(graph.Int("bits", int64(c.bits)), graph.Int("block_size", 16), graph.Int("quantize_axis", -1))}
			for _, in := range [][]arg{at(raw(c.d, data...), ix(-7, 8, 2, 3), ff(blocks...)), at(konst(raw(c.d, data...)), ix(0, 5, 4), konst(ff(blocks...)), konst(raw(c.d, zero...))),
				at(raw(c.d, data...), ix(0, 5, 4), as(ff(blocks...), tensor.Float16))} {
				s.in, s.tol = in, 1e-3
				add(s)
			}
		}
	}
}
