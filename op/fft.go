package op

import (
	"math"
	"unsafe"

	"muster/internal/detmath"
	"muster/tensor"
)

// Fourier transforms of length L. A transform is y[k] = s sum over t of m[t] x[t] e^(+-2 pi i k t / L).

// transform is what a DFT or STFT node does with one row.
type transform struct {
	L       int
	inverse bool // the exponent is positive, the sum is divided by L
	half    bool // forward: only k = 0 ... L/2 is kept; inverse: only those t are given, and the result is real
	w       []complex128
}

func newTransform(L int, inverse, half bool) *transform {
	f := &transform{L: L, inverse: inverse, half: half, w: make([]complex128, L)}
	for j := range f.w {
		a := 2 * math.Pi * float64(j) / float64(L)
		f.w[j] = complex(detmath.Cos(a), -detmath.Sin(a))
		if inverse {
			f.w[j] = complex(real(f.w[j]), -imag(f.w[j]))
		}
	}
	return f
}

// outs is the number of results and of the numbers each has.
func (f *transform) outs() (n, channels int) {
	switch {
	case f.half && f.inverse:
		return f.L, 1
	case f.half:
		return f.L/2 + 1, 2
	}
	return f.L, 2
}

// given is how many elements of a row of n are read.
func (f *transform) given(n int) int {
	if f.half && f.inverse {
		return min(n, f.L/2+1)
	}
	return min(n, f.L)
}

// cmul has no fused operations, unlike the product of the language.
func cmul(a, b complex128) complex128 {
	return complex(float64(real(a)*real(b))-float64(imag(a)*imag(b)), float64(real(a)*imag(b))+float64(imag(a)*real(b)))
}

// fill completes x, of which n elements are set, to L elements: by zeros, or by the mirrored half of a real signal's spectrum.
func (f *transform) fill(x []complex128, n int) {
	clear(x[n:f.L])
	if !f.half || !f.inverse {
		return
	}
	x[0] = complex(real(x[0]), 0)
	if f.L%2 == 0 {
		x[f.L/2] = complex(real(x[f.L/2]), 0)
	}
	for t := 1; t < (f.L+1)/2; t++ {
		x[f.L-t] = complex(real(x[t]), -imag(x[t]))
	}
}

// direct is the sum as it is defined.
func (f *transform) direct(y, x []complex128) {
	for k := range y[:f.L] {
		s := complex(0, 0)
		for t, v := range x[:f.L] {
			s += cmul(v, f.w[k*t%f.L])
		}
		y[k] = s
	}
}

// fast is the sum by the recursion of Cooley and Tukey over the prime factors of L.
func (f *transform) fast(y, x, part []complex128) { f.step(y, x, part, f.L, 1) }

// step transforms x[0], x[stride], ... (n of them); part holds as many numbers as the greatest prime factor.
func (f *transform) step(y, x, part []complex128, n, stride int) {
	if n == 1 {
		y[0] = x[0]
		return
	}
	p := 2
	for n%p != 0 {
		p++
		if p*p > n {
			p = n
		}
	}
	m := n / p
	for r := 0; r < p; r++ {
		f.step(y[r*m:(r+1)*m], x[r*stride:], part, m, stride*p)
	}
	for k := 0; k < m; k++ {
		for r := 0; r < p; r++ {
			part[r] = cmul(y[r*m+k], f.w[r*k*stride])
		}
		if p == 2 {
			y[k], y[m+k] = part[0]+part[1], part[0]-part[1]
			continue
		}
		for q := 0; q < p; q++ {
			s := part[0]
			for r := 1; r < p; r++ {
				s += cmul(part[r], f.w[r*q%p*(f.L/p)])
			}
			y[q*m+k] = s
		}
	}
}

// scale is what results are multiplied by.
func (f *transform) scale() float64 {
	if f.inverse {
		return 1 / float64(f.L)
	}
	return 1
}

// rowTransform reads row r into x (at most L numbers, all set) and writes the results.
type rowTransform struct {
	f     *transform
	load  func(in []*tensor.Tensor, r int, x []complex128)
	place func(r, k int) int // element of the output where result k of row r begins
}

// ref computes every row of the output by the definition.
func (t rowTransform) ref(c *Call, rows int) {
	L := t.f.L
	x, y, v := make([]complex128, L), make([]complex128, L), make([]float64, c.Out[0].Elems())
	n, channels := t.f.outs()
	for r := 0; r < rows; r++ {
		t.load(c.In, r, x)
		t.f.direct(y, x)
		for k := 0; k < n; k++ {
			at := t.place(r, k)
			v[at] = real(y[k]) * t.f.scale()
			if channels == 2 {
				v[at+1] = imag(y[k]) * t.f.scale()
			}
		}
	}
	setFloats(c.Out[0], v)
}

// fftTasks is into how many parts the rows are split at most.
const fftTasks = 32

// kernel runs over rows of a float32 output.
func (t rowTransform) kernel(rows int) Kernel {
	tasks := min(rows, fftTasks)
	size := 3 * t.f.L
	return Kernel{Scratch: 16*tasks*size + 64, Run: split(tasks, func(in, out []*tensor.Tensor, scratch []byte, task int) {
		buf := complexIn(scratch)[task*size : (task+1)*size]
		x, y := buf[:t.f.L], buf[t.f.L:2*t.f.L]
		n, channels := t.f.outs()
		d, scale := out[0].Float32s(), t.f.scale()
		for r := task * rows / tasks; r < (task+1)*rows/tasks; r++ {
			t.load(in, r, x)
			t.f.fast(y, x, buf[2*t.f.L:])
			for k := 0; k < n; k++ {
				at := t.place(r, k)
				d[at] = float32(real(y[k]) * scale)
				if channels == 2 {
					d[at+1] = float32(imag(y[k]) * scale)
				}
			}
		}
	})}
}

// complexIn views scratch as complex numbers; it lies in the arena, aligned to a cache line.
func complexIn(scratch []byte) []complex128 {
	if len(scratch) < 16 {
		return nil
	}
	return unsafe.Slice((*complex128)(unsafe.Pointer(&scratch[0])), len(scratch)/16)
}
