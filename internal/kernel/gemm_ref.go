package kernel

// Axis letters: M rows, N columns, K summed.

// gemmRowsRef is the meaning of gemmRows: for every element a chain of fused
// multiply-adds over k in ascending order.
func gemmRowsRef(m, k int, a []float32, arow, acol int, b operand, c []float32, ldc, mode int, bias []float32) {
	for i := 0; i < m; i++ {
		row := c[i*ldc : i*ldc+b.width]
		for n := range row {
			var s float32
			switch mode {
			case fromC:
				s = row[n]
			case fromBias:
				s = bias[n]
			}
			for p := 0; p < k; p++ {
				s = FMA(a[i*arow+p*acol], b.data[p*b.row+n], s)
			}
			row[n] = s
		}
	}
}
