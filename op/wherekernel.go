package op

import (
	endian "encoding/binary"
	"unsafe"

	"muster/internal/kernel"
	"muster/tensor"
)

var le = endian.LittleEndian

// octets views the start of b as n groups of eight bytes.
func octets(b []byte, n int) [][8]byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*[8]byte)(unsafe.Pointer(&b[0])), n)
}

// whereKernel chooses elements of any size; operands are read through their strides.
func whereKernel(p *Prep) (Kernel, bool) {
	out, size := p.Out[0].Shape, p.Out[0].DType.Bits()/8
	m := mergeAxes(out, broadcastStrides(out, p.In[0].Shape), broadcastStrides(out, p.In[1].Shape), broadcastStrides(out, p.In[2].Shape))
	if len(m.shape) > maxAxes {
		return Kernel{}, false
	}
	var s [3]strided
	for i := range s {
		s[i] = fixedStrided(m.shape, m.strides[i])
	}
	row := whereRow(size)
	if row == nil {
		return Kernel{}, false
	}
	n, per := s[0].inner, s[0].rowsPerTask()
	return Kernel{Run: split(s[0].tasks(), func(in, out []*tensor.Tensor, _ []byte, task int) {
		for r := task * per; r < min(s[0].outer, (task+1)*per); r++ {
			row(out[0].Data[r*n*size:(r+1)*n*size], in[0].Data[s[0].from(r):], in[1].Data[s[1].from(r)*size:], in[2].Data[s[2].from(r)*size:],
				[3]int{s[0].step, s[1].step, s[2].step})
		}
	})}, true
}

// whereRow is the function of one row for an element size.
func whereRow(size int) func(dst, q, a, b []byte, step [3]int) {
	switch size {
	case 4:
		return selectRow
	case 8:
		return selectLongs
	case 2:
		return chooseRow[uint16]
	case 1:
		return chooseRow[uint8]
	}
	return nil
}

// selectBlock is how many copies of a number stand in for an operand that stays.
const selectBlock = 512

// selectRow runs on kernel.Select; a number is written out first.
func selectRow(dst, q, a, b []byte, step [3]int) {
	d := floatsIn(dst)
	if step[0] == 0 {
		src, by := b, step[2]
		if q[0] != 0 {
			src, by = a, step[1]
		}
		if by == 1 {
			copy(dst, src)
			return
		}
		fillFloats(d, floatsIn(src[:4])[0])
		return
	}
	var wide [2][selectBlock]float32
	var src [2][]float32
	for i, x := range [2][]byte{a, b} {
		if step[i+1] == 0 {
			n := min(selectBlock, len(d))
			fillFloats(wide[i][:n], floatsIn(x[:4])[0])
			src[i] = wide[i][:n]
		} else {
			src[i] = floatsIn(x)
		}
	}
	for lo := 0; lo < len(d); lo += selectBlock {
		hi := min(len(d), lo+selectBlock)
		x, y := src[0], src[1]
		if step[1] != 0 {
			x = x[lo:]
		}
		if step[2] != 0 {
			y = y[lo:]
		}
		kernel.Select(d[lo:hi], q[lo:hi], x[:hi-lo], y[:hi-lo])
	}
}

func fillFloats(d []float32, v float32) {
	for i := range d {
		d[i] = v
	}
}

func chooseRow[T uint8 | uint16 | uint64](dst, q, a, b []byte, step [3]int) {
	d, x, y := words[T](dst), words[T](a), words[T](b)
	c, i, j := 0, 0, 0 // q holds 0 or 1: no branch that a processor has to guess
	for k := range d {
		v := y[j]
		d[k] = v ^ (v^x[i])&-T(q[c])
		c, i, j = c+step[0], i+step[1], j+step[2]
	}
}

// selectLongs runs on kernel.SelectLong; what stays is written out a block at a time.
func selectLongs(dst, q, a, b []byte, step [3]int) {
	if step[0] == 0 {
		chooseRow[uint64](dst, q, a, b, step)
		return
	}
	var wide [2][shortRow]int64
	d, x, y := longs(dst), longs(a), longs(b)
	for i, j := 0, 0; len(d) > 0; {
		n := min(len(d), shortRow)
		kernel.SelectLong(d[:n], q[:n], repeatedWords(wide[0][:n], x[i:], step[1]), repeatedWords(wide[1][:n], y[j:], step[2]))
		d, q, i, j = d[n:], q[n:], i+n*step[1], j+n*step[2]
	}
}

func longs(b []byte) []int64 {
	if len(b) < 8 {
		return nil
	}
	return unsafe.Slice((*int64)(unsafe.Pointer(&b[0])), len(b)/8)
}
