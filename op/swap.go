package op

import (
	"unsafe"

	"muster/internal/kernel"
	"muster/tensor"
)

// swap is a copy in which the last axis of the output is a far one of the source: a batch of matrix transposes.
// dst[r*ldd + c] = src[c*lds + r].
type swap struct {
	R, C     int // of one matrix of the output
	ldd, lds int
	batch    strided // the other axes; its outer rows are the matrices
	dst      [maxAxes]int
	tr, tc   int // rows and columns of a task
	nr, nc   int // tasks along both
}

// side is the side of the squares that a task's matrix is made of: one row fits some cache lines.
const side = 128

// newSwap finds the axis along which the source is contiguous, if it is not the last.
func newSwap(s strided) (w swap, ok bool) {
	a := -1
	for i, st := range s.stride[:s.axes] {
		if st == 1 && s.shape[i] > 1 {
			a = i
		}
	}
	if a < 0 || s.step <= 1 || s.inner < 2 {
		return w, false
	}
	w = swap{R: s.shape[a], C: s.inner, lds: s.step, batch: strided{size: s.size, base: s.base, outer: 1}}
	at := s.inner
	for i := s.axes - 1; i >= 0; i-- {
		if i == a {
			w.ldd = at
		}
		at *= s.shape[i]
	}
	at = s.outer * s.inner
	for i := range s.axes {
		at /= max(1, s.shape[i])
		if i != a {
			k := w.batch.axes
			w.batch.shape[k], w.batch.stride[k], w.dst[k] = s.shape[i], s.stride[i], at
			w.batch.axes++
			w.batch.outer *= s.shape[i]
		}
	}
	w.tr, w.nr = tiles(w.R)
	w.tc, w.nc = tiles(w.C)
	return w, true
}

// tiles cuts n into tasks of about side; no rest is shorter than a block of 16.
func tiles(n int) (size, count int) {
	count = max(1, (n+side/2)/side)
	return ((n+count-1)/count + 15) &^ 15, count
}

func (w *swap) tasks() int { return w.batch.outer * w.nr * w.nc }

// kernel returns the function of one task for the element size.
func (w *swap) kernel() func(dst, src []byte, r, c, rows, cols int) {
	switch size := w.batch.size; {
	case size == 4 && min(w.R, w.C) >= 16:
		return func(dst, src []byte, r, c, rows, cols int) {
			d, s := floatsIn(dst), floatsIn(src)
			kernel.Transpose(d[r*w.ldd+c:], w.ldd, s[c*w.lds+r:], w.lds, cols, rows)
		}
	case size == 4:
		return swapTile[uint32](w)
	case size == 8:
		return swapTile[uint64](w)
	case size == 2 && min(w.R, w.C) >= 8:
		return func(dst, src []byte, r, c, rows, cols int) {
			kernel.TransposeHalves(words[uint16](dst)[r*w.ldd+c:], w.ldd, words[uint16](src)[c*w.lds+r:], w.lds, cols, rows)
		}
	case size == 2:
		return swapTile[uint16](w)
	case min(w.R, w.C) >= 8:
		return func(dst, src []byte, r, c, rows, cols int) {
			kernel.TransposeBytes(dst[r*w.ldd+c:], w.ldd, src[c*w.lds+r:], w.lds, cols, rows)
		}
	}
	return swapTile[uint8](w)
}

// swapTile moves elements by plain loops, up to four rows of the shorter side at once.
func swapTile[T uint8 | uint16 | uint32 | uint64](w *swap) func(dst, src []byte, r, c, rows, cols int) {
	return func(dst, src []byte, r, c, rows, cols int) {
		d, s := words[T](dst), words[T](src)
		if w.C < 4 && w.R > w.C {
			weave(d[r*w.ldd+c:], w.ldd, s[c*w.lds+r:], w.lds, cols, rows)
			return
		}
		for i := 0; i < rows; i += 4 {
			unweave(d[(r+i)*w.ldd+c:], w.ldd, s[c*w.lds+r+i:], w.lds, min(4, rows-i), cols)
		}
	}
}

// unweave is d[i*ldd + k] = s[k*lds + i] for up to four i and n values of k.
func unweave[T uint8 | uint16 | uint32 | uint64](d []T, ldd int, s []T, lds, rows, n int) {
	at := 0
	switch rows {
	case 4:
		a, b, e, f := d[:n], d[ldd:][:n], d[2*ldd:][:n], d[3*ldd:][:n]
		for k := range a {
			q := s[at : at+4 : at+4]
			a[k], b[k], e[k], f[k] = q[0], q[1], q[2], q[3]
			at += lds
		}
	case 3:
		a, b, e := d[:n], d[ldd:][:n], d[2*ldd:][:n]
		for k := range a {
			q := s[at : at+3 : at+3]
			a[k], b[k], e[k] = q[0], q[1], q[2]
			at += lds
		}
	default:
		for i := range rows {
			a, at := d[i*ldd:][:n], i
			for k := range a {
				a[k] = s[at]
				at += lds
			}
		}
	}
}

// weave is d[i*ldd + k] = s[k*lds + i] for up to three k and n values of i.
func weave[T uint8 | uint16 | uint32 | uint64](d []T, ldd int, s []T, lds, cols, n int) {
	at := 0
	if cols == 3 {
		a, b, e := s[:n], s[lds:][:n], s[2*lds:][:n]
		for i, x := range a {
			q := d[at : at+3 : at+3]
			q[0], q[1], q[2] = x, b[i], e[i]
			at += ldd
		}
		return
	}
	for k := range cols {
		at := k
		for _, x := range s[k*lds:][:n] {
			d[at] = x
			at += ldd
		}
	}
}

// swapKernel runs a swap from input 0 to output 0.
func swapKernel(w swap) Kernel {
	elem, tile := w.batch.size, w.kernel()
	return Kernel{Run: split(w.tasks(), func(in, out []*tensor.Tensor, _ []byte, task int) {
		m, t := task/(w.nr*w.nc), task%(w.nr*w.nc)
		r, c := t/w.nc*w.tr, t%w.nc*w.tc
		if r >= w.R || c >= w.C {
			return
		}
		to := 0
		for i, k := w.batch.axes-1, m; i >= 0; i-- {
			to += k % w.batch.shape[i] * w.dst[i]
			k /= w.batch.shape[i]
		}
		tile(out[0].Data[to*elem:], in[0].Data[w.batch.from(m)*elem:], r, c, min(w.tr, w.R-r), min(w.tc, w.C-c))
	})}
}

// words views bytes as elements of T; tensors are aligned to their element size.
func words[T uint8 | uint16 | uint32 | uint64](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(z)))
}
