package kernel

import (
	"unsafe"

	"muster/internal/cpu"
)

// Kernels over the rows of a matrix [rows, C] that treat every column by itself. Sums over rows are chains in
// ascending order.

// columns are offsets of rows for the strip kernels.
type columns struct{ table [2 * columnRows]int }

// columnRows is the most rows of one call.
const columnRows = 64

var columnTables = pool[columns]{make: func() *columns { return &columns{} }}

// columnSums is dst[c] = sum over rows of x[r*C+c], or of x[r*C+c]*y[r*C+c] if y is not nil.
func columnSums(tier cpu.Tier, dst, x, y []float32, rows, C int) {
	step, whole := 16, C&^15
	if tier == cpu.Ref {
		whole = 0
	}
	if whole > 0 {
		t := columnTables.get()
		for r := 0; r < rows; r++ {
			t.table[2*r], t.table[2*r+1] = 4*r*C, 4*r*C
		}
		kind, start := MeanPool, noStart[:]
		s := strip{n: whole / step, x: unsafe.Pointer(&x[0]), xstep: 4 * step, y: unsafe.Pointer(&dst[0]), ystep: 4 * step,
			start: unsafe.Pointer(&start[0]), w: unsafe.Pointer(&start[0]), table: unsafe.Pointer(&t.table), taps: rows, size: 4 * step, mask: 1<<16 - 1}
		if y == nil {
			stripAsm(tier, kind, &s)
		} else {
			for c := 0; c < whole; c += step { // weights have no step from output to output
				s.n, s.x, s.w, s.y = 1, unsafe.Pointer(&x[c]), unsafe.Pointer(&y[c]), unsafe.Pointer(&dst[c])
				stripAsm(tier, Depthwise, &s)
			}
		}
		columnTables.put(t)
	}
	for c := whole; c < C; c++ {
		sum := float32(0)
		for r := 0; r < rows; r++ {
			if y == nil {
				sum += x[r*C+c]
			} else {
				sum = FMA(x[r*C+c], y[r*C+c], sum)
			}
		}
		dst[c] = sum
	}
}

// noStart is where sums without a bias start.
var noStart [16]float32

// oneTap reads a row as it is.
var oneTap = [2]int{}

// rowsAffine is y[r, c] = x[r, c]*a[c] + b[c].
func rowsAffine(tier cpu.Tier, y, x, a, b []float32, rows, C int) {
	whole := 0
	switch tier {
	case cpu.AVX512:
		whole = C
	case cpu.AVX2:
		whole = C &^ 7
	}
	if whole > 0 && rows > 0 {
		s := strip{n: rows, x: unsafe.Pointer(&x[0]), xstep: 4 * C, y: unsafe.Pointer(&y[0]), ystep: 4 * C, start: unsafe.Pointer(&b[0]),
			w: unsafe.Pointer(&a[0]), table: unsafe.Pointer(&oneTap), taps: 1, size: 4 * whole, mask: 1<<((whole-1)%16+1) - 1}
		stripAsm(tier, Depthwise, &s)
	}
	for r := 0; r < rows && whole < C; r++ {
		for c := whole; c < C; c++ {
			y[r*C+c] = FMA(x[r*C+c], a[c], b[c])
		}
	}
}

// rowsAffine2 is y[r, c] = u[r, c]*d[c] + (x[r, c]*a[c] + b[c]); y may be x.
func rowsAffine2(tier cpu.Tier, y, x, a, u, d, b []float32, rows, C int) {
	whole := 0
	switch tier {
	case cpu.AVX512:
		whole = C
	case cpu.AVX2:
		whole = C &^ 7
	}
	if whole > 0 && rows > 0 {
		t := columnTables.get()
		// The second tap lies in other tensors: its offsets are the distances to them.
		t.table[0], t.table[1] = 0, 0
		t.table[2] = int(uintptr(unsafe.Pointer(&u[0])) - uintptr(unsafe.Pointer(&x[0])))
		t.table[3] = int(uintptr(unsafe.Pointer(&d[0])) - uintptr(unsafe.Pointer(&a[0])))
		s := strip{n: rows, x: unsafe.Pointer(&x[0]), xstep: 4 * C, y: unsafe.Pointer(&y[0]), ystep: 4 * C, start: unsafe.Pointer(&b[0]),
			w: unsafe.Pointer(&a[0]), table: unsafe.Pointer(&t.table), taps: 2, size: 4 * whole, mask: 1<<((whole-1)%16+1) - 1}
		stripAsm(tier, Depthwise, &s)
		columnTables.put(t)
	}
	for r := 0; r < rows && whole < C; r++ {
		for c := whole; c < C; c++ {
			y[r*C+c] = FMA(u[r*C+c], d[c], FMA(x[r*C+c], a[c], b[c]))
		}
	}
}
