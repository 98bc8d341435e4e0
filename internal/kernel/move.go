package kernel

import (
	"unsafe"

	"muster/internal/cpu"
)

// Transpose is dst[c*ldd+r] = src[r*lds+c] for rows x cols words of src. Blocks at the edges overlap
// those before them, so that no word moves alone.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	tier := cpu.Active()
	if !fast() || rows < 16 || cols < 16 {
		transposeRef(dst, ldd, src, lds, rows, cols)
		return
	}
	for r := 0; r < rows; r += 16 {
		r := min(r, rows-16)
		transposeBlocks(tier, cols/16, dst[r:], ldd, src[r*lds:], lds)
		if cols%16 != 0 {
			transposeBlocks(tier, 1, dst[(cols-16)*ldd+r:], ldd, src[r*lds+cols-16:], lds)
		}
	}
}

// truth views bools as bytes.
func truth(q []bool) *uint8 { return (*uint8)(unsafe.Pointer(&q[0])) }
