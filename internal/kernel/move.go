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

// TransposeBytes is Transpose for bytes.
func TransposeBytes(dst []uint8, ldd int, src []uint8, lds, rows, cols int) {
	if !fast() || rows < 16 || cols < 8 {
		transposeRef(dst, ldd, src, lds, rows, cols)
		return
	}
	for r := 0; r < rows; r += 16 {
		r := min(r, rows-16)
		transposeBits8(cols/8, &dst[:(cols-1)*ldd+rows][r], ldd, &src[:(rows-1)*lds+cols][r*lds], lds)
		if cols%8 != 0 {
			transposeBits8(1, &dst[(cols-8)*ldd+r], ldd, &src[r*lds+cols-8], lds)
		}
	}
}

// TransposeHalves is Transpose for words of 16 bits.
func TransposeHalves(dst []uint16, ldd int, src []uint16, lds, rows, cols int) {
	if !fast() || rows < 8 || cols < 8 {
		transposeRef(dst, ldd, src, lds, rows, cols)
		return
	}
	_, _ = dst[(cols-1)*ldd+rows-1], src[(rows-1)*lds+cols-1]
	for c := 0; c < cols; c += 16 { // few rows of dst at a time stay in the cache until their lines are full
		n := min(2, (cols-c)/8)
		for r := 0; r < rows; r += 8 {
			r := min(r, rows-8)
			if n > 0 {
				transposeBits16(n, &dst[c*ldd+r], 2*ldd, &src[r*lds+c], 2*lds)
			}
			if c+16 > cols && cols%8 != 0 {
				transposeBits16(1, &dst[(cols-8)*ldd+r], 2*ldd, &src[r*lds+cols-8], 2*lds)
			}
		}
	}
}
