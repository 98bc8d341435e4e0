package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// intKernel is a binary operator on int64 or int32: a loop of its own for sums and products.
func intKernel(p *Prep, name string, f func(x, y int64) int64) (Kernel, bool) {
	d := p.Out[0].DType
	if f == nil || p.In[0].DType != d || p.In[1].DType != d {
		return Kernel{}, false
	}
	switch {
	case d == tensor.Int64 && name == "Mod":
		return modRows(p, p.Node.Int("fmod", 0) != 0)
	case d == tensor.Int64:
		return intRows(p, name, f, (*tensor.Tensor).Int64s)
	case d == tensor.Int32:
		return intRows(p, name, f, (*tensor.Tensor).Int32s)
	}
	return Kernel{}, false
}

// vectorInts are the operations that kernel.Map2Int has.
var vectorInts = map[string]kernel.Integer{"Add": kernel.AddInt, "Sub": kernel.SubInt, "Mul": kernel.MulInt}

// modRows is the remainder of int64; a divisor that stays is written out a block at a time.
func modRows(p *Prep, toZero bool) (Kernel, bool) {
	return broadcastKernel(p, func(out, x, y *tensor.Tensor, lo, hi, i, j, di, dj int) {
		var wide [2][shortRow]int64
		for d := out.Int64s()[lo:hi]; len(d) > 0; {
			n := min(len(d), shortRow)
			kernel.Mod(d[:n], repeatedWords(wide[0][:n], x.Int64s()[i:], di), repeatedWords(wide[1][:n], y.Int64s()[j:], dj), toZero)
			d, i, j = d[n:], i+n*di, j+n*dj
		}
	})
}

// repeatedWords are the next len(buf) operands: those of src, or its first one, written out.
func repeatedWords[T any](buf, src []T, step int) []T {
	if step == 1 {
		return src[:len(buf)]
	}
	for i := range buf {
		buf[i] = src[i*step]
	}
	return buf
}

func intRows[T int32 | int64](p *Prep, name string, f func(x, y int64) int64, of func(*tensor.Tensor) []T) (Kernel, bool) {
	op, vector := vectorInts[name]
	return broadcastKernel(p, func(out, x, y *tensor.Tensor, lo, hi, i, j, di, dj int) {
		d, a, b := of(out)[lo:hi], of(x), of(y)
		if e, ok := any(d).([]int32); ok && vector && di == 1 && dj == 1 {
			kernel.Map2Int(op, e, x.Int32s()[i:][:len(e)], y.Int32s()[j:][:len(e)])
			return
		}
		switch name {
		case "Add":
			for k := range d {
				d[k] = a[i] + b[j]
				i, j = i+di, j+dj
			}
		case "Sub":
			for k := range d {
				d[k] = a[i] - b[j]
				i, j = i+di, j+dj
			}
		case "Mul":
			for k := range d {
				d[k] = a[i] * b[j]
				i, j = i+di, j+dj
			}
		default:
			for k := range d {
				d[k] = T(f(int64(a[i]), int64(b[j])))
				i, j = i+di, j+dj
			}
		}
	})
}

// comparisons are the operators that kernel.Compare has.
var comparisons = map[string]kernel.Comparison{"Equal": kernel.Equal, "Less": kernel.Less, "LessOrEqual": kernel.LessEqual,
	"Greater": kernel.Greater, "GreaterOrEqual": kernel.GreaterEqual}

// mirrored is the comparison with its operands exchanged.
var mirrored = map[kernel.Comparison]kernel.Comparison{kernel.Equal: kernel.Equal, kernel.Less: kernel.Greater, kernel.Greater: kernel.Less,
	kernel.LessEqual: kernel.GreaterEqual, kernel.GreaterEqual: kernel.LessEqual}

func compareKernel(p *Prep, name string) (Kernel, bool) {
	c, ok := comparisons[name]
	if !ok {
		return logicKernel(p, name)
	}
	switch p.In[0].DType {
	case tensor.Float32:
		return broadcastKernel(p, func(out, x, y *tensor.Tensor, lo, hi, i, j, di, dj int) {
			q, a, b := out.Bools()[lo:hi], x.Float32s()[i:], y.Float32s()[j:]
			switch n := len(q); {
			case n == 0:
			case di == 1 && dj == 1:
				kernel.Compare(c, q, a[:n], b[:n])
			case di == 1:
				kernel.CompareScalar(c, q, a[:n], b[0])
			case dj == 1:
				kernel.CompareScalar(mirrored[c], q, b[:n], a[0])
			default:
				fillTruth(q, func(one []bool) { kernel.CompareScalar(c, one, a[:1], b[0]) })
			}
		})
	case tensor.Int64:
		return compareRows(p, c, (*tensor.Tensor).Int64s)
	case tensor.Int32:
		return compareRows(p, c, (*tensor.Tensor).Int32s)
	case tensor.Uint8:
		return compareRows(p, c, (*tensor.Tensor).Uint8s)
	case tensor.Bool:
		if c == kernel.Equal {
			return logicKernel(p, "Equal")
		}
	}
	return Kernel{}, false
}

func compareRows[T int32 | int64 | uint8](p *Prep, c kernel.Comparison, of func(*tensor.Tensor) []T) (Kernel, bool) {
	return broadcastKernel(p, func(out, x, y *tensor.Tensor, lo, hi, i, j, di, dj int) {
		q, a, b := out.Bools()[lo:hi], of(x)[i:], of(y)[j:]
		switch n := len(q); {
		case n == 0:
		case di == 1:
			kernel.CompareOf(c, q, a[:n], b, dj)
		case dj == 1:
			kernel.CompareOf(mirrored[c], q, b[:n], a, 0)
		default:
			fillTruth(q, func(one []bool) { kernel.CompareOf(c, one, a[:1], b, 0) })
		}
	})
}

// fillTruth sets q to one truth value.
func fillTruth(q []bool, f func(one []bool)) {
	f(q[:1])
	for i := range q {
		q[i] = q[0]
	}
}

// logicKernel combines bytes that are 0 or 1.
func logicKernel(p *Prep, name string) (Kernel, bool) {
	if p.In[0].DType != tensor.Bool {
		return Kernel{}, false
	}
	return broadcastKernel(p, func(out, x, y *tensor.Tensor, lo, hi, i, j, di, dj int) {
		d, a, b := out.Data[lo:hi], x.Data, y.Data
		if di == 1 && dj == 1 && name != "Equal" {
			words := len(d) / 8
			logicWords(name, octets(d, words), octets(a[i:], words), octets(b[j:], words))
			d, i, j = d[8*words:], i+8*words, j+8*words
		}
		for k := range d {
			v, w := a[i], b[j]
			switch name {
			case "And":
				d[k] = v & w
			case "Or":
				d[k] = v | w
			case "Xor":
				d[k] = v ^ w
			default:
				d[k] = v ^ w ^ 1
			}
			i, j = i+di, j+dj
		}
	})
}

func logicWords(name string, d, a, b [][8]byte) {
	u := func(v *[8]byte) uint64 { return le.Uint64(v[:]) }
	switch name {
	case "And":
		for k := range d {
			le.PutUint64(d[k][:], u(&a[k])&u(&b[k]))
		}
	case "Or":
		for k := range d {
			le.PutUint64(d[k][:], u(&a[k])|u(&b[k]))
		}
	case "Xor":
		for k := range d {
			le.PutUint64(d[k][:], u(&a[k])^u(&b[k]))
		}
	}
}

// notKernel turns 0 and 1 around, eight bytes at a time.
func notKernel(p *Prep) (Kernel, bool) {
	n := p.Out[0].Elems()
	return Kernel{Over: 1, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		d, x := out[0].Data[lo:hi], in[0].Data[lo:hi]
		words := len(d) / 8
		a, b := octets(d, words), octets(x, words)
		for k := range a {
			le.PutUint64(a[k][:], le.Uint64(b[k][:])^0x0101010101010101)
		}
		for k := 8 * words; k < len(d); k++ {
			d[k] = x[k] ^ 1
		}
	})}, true
}
