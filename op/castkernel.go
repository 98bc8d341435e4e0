package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// conversion converts elements lo to hi.
type conversion = func(out, in *tensor.Tensor, lo, hi int)

// castKernel converts to and from float32, and between the integers that shapes and masks are made of.
func castKernel(p *Prep) (Kernel, bool) {
	n := p.Out[0].Elems()
	from, to := p.In[0].DType, p.Out[0].DType
	if from == to {
		return Kernel{Over: 1, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			lo, hi = to.Bytes(lo), to.Bytes(hi)
			copy(out[0].Data[lo:hi], in[0].Data[lo:hi])
		})}, true
	}
	var f conversion
	switch {
	case to == tensor.Float32:
		f = toFloat32(from)
	case from == tensor.Float32:
		f = fromFloat32(to)
	case to == tensor.Int64:
		f = toInteger(from, (*tensor.Tensor).Int64s)
	case to == tensor.Bool && from == tensor.Int64:
		f = func(out, in *tensor.Tensor, lo, hi int) { truthLoop(out.Bools()[lo:hi], in.Int64s()[lo:hi]) }
	case to == tensor.Bool && from == tensor.Int32:
		f = func(out, in *tensor.Tensor, lo, hi int) { truthLoop(out.Bools()[lo:hi], in.Int32s()[lo:hi]) }
	case to == tensor.Int32:
		f = toInteger(from, (*tensor.Tensor).Int32s)
	}
	if f == nil {
		return Kernel{}, false
	}
	return Kernel{Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		f(out[0], in[0], lo, hi)
	})}, true
}

func toFloat32(from tensor.DType) conversion {
	switch from {
	case tensor.Uint8, tensor.Bool:
		return func(out, in *tensor.Tensor, lo, hi int) {
			kernel.FromBytes(out.Float32s()[lo:hi], in.Data[lo:hi], false, 0, 1)
		}
	case tensor.Int8:
		return func(out, in *tensor.Tensor, lo, hi int) {
			kernel.FromBytes(out.Float32s()[lo:hi], in.Data[lo:hi], true, 0, 1)
		}
	case tensor.Int32:
		return func(out, in *tensor.Tensor, lo, hi int) { convertLoop(out.Float32s()[lo:hi], in.Int32s()[lo:hi]) }
	case tensor.Int64:
		return func(out, in *tensor.Tensor, lo, hi int) {
			d := out.Float32s()[lo:hi]
			for i, v := range in.Int64s()[lo:hi] {
				d[i] = float32(float64(v)) // two roundings, as in the reference
			}
		}
	case tensor.Float64:
		return func(out, in *tensor.Tensor, lo, hi int) {
			convertLoop(out.Float32s()[lo:hi], in.Float64s()[lo:hi])
		}
	case tensor.Float16:
		return func(out, in *tensor.Tensor, lo, hi int) {
			kernel.Widen(out.Float32s()[lo:hi], in.Uint16s()[lo:hi])
		}
	case tensor.BFloat16:
		return func(out, in *tensor.Tensor, lo, hi int) {
			kernel.FromBFloat16(out.Float32s()[lo:hi], in.Uint16s()[lo:hi])
		}
	}
	return nil
}

func fromFloat32(to tensor.DType) conversion {
	switch to {
	case tensor.Float64:
		return func(out, in *tensor.Tensor, lo, hi int) {
			convertLoop(out.Float64s()[lo:hi], in.Float32s()[lo:hi])
		}
	case tensor.Float16:
		return func(out, in *tensor.Tensor, lo, hi int) {
			kernel.Narrow(out.Uint16s()[lo:hi], in.Float32s()[lo:hi])
		}
	case tensor.BFloat16:
		return func(out, in *tensor.Tensor, lo, hi int) {
			kernel.ToBFloat16(out.Uint16s()[lo:hi], in.Float32s()[lo:hi])
		}
	case tensor.Bool:
		return func(out, in *tensor.Tensor, lo, hi int) {
			kernel.CompareScalar(kernel.NotEqual, out.Bools()[lo:hi], in.Float32s()[lo:hi], 0)
		}
	case tensor.Int64:
		return func(out, in *tensor.Tensor, lo, hi int) { kernel.Truncate(out.Int64s()[lo:hi], in.Float32s()[lo:hi]) }
	case tensor.Int32:
		return func(out, in *tensor.Tensor, lo, hi int) { kernel.Truncate(out.Int32s()[lo:hi], in.Float32s()[lo:hi]) }
	case tensor.Int8:
		return func(out, in *tensor.Tensor, lo, hi int) { kernel.Truncate(out.Int8s()[lo:hi], in.Float32s()[lo:hi]) }
	case tensor.Uint8:
		return func(out, in *tensor.Tensor, lo, hi int) { kernel.Truncate(out.Uint8s()[lo:hi], in.Float32s()[lo:hi]) }
	}
	return nil
}

// toInteger converts from the other integers.
func toInteger[T int32 | int64](from tensor.DType, dst func(*tensor.Tensor) []T) conversion {
	switch from {
	case tensor.Bool, tensor.Uint8:
		return func(out, in *tensor.Tensor, lo, hi int) { convertLoop(dst(out)[lo:hi], in.Data[lo:hi]) }
	case tensor.Int8:
		return func(out, in *tensor.Tensor, lo, hi int) { convertLoop(dst(out)[lo:hi], in.Int8s()[lo:hi]) }
	case tensor.Int32:
		return func(out, in *tensor.Tensor, lo, hi int) { convertLoop(dst(out)[lo:hi], in.Int32s()[lo:hi]) }
	case tensor.Int64:
		return func(out, in *tensor.Tensor, lo, hi int) { convertLoop(dst(out)[lo:hi], in.Int64s()[lo:hi]) }
	}
	return nil
}

func convertLoop[T, F int8 | uint8 | int32 | int64 | float32 | float64](dst []T, src []F) {
	for i, v := range src {
		dst[i] = T(v)
	}
}

func truthLoop[T int32 | int64](dst []bool, src []T) {
	for i, v := range src {
		dst[i] = v != 0
	}
}
