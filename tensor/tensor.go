// Package tensor holds values: a dtype, a shape and contiguous bytes.
//
// A Tensor knows no arithmetic, no gradient and no device. Data is row-major
// and little-endian, exactly as ONNX raw_data.
package tensor

import (
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// DType is an element type; the values are those of ONNX TensorProto.DataType.
type DType uint8

// Element types by their ONNX numbers.
const (
	Undefined DType = 0
	Float32   DType = 1
	Uint8     DType = 2
	Int8      DType = 3
	Uint16    DType = 4
	Int16     DType = 5
	Int32     DType = 6
	Int64     DType = 7
	String    DType = 8
	Bool      DType = 9
	Float16   DType = 10
	Float64   DType = 11
	Uint32    DType = 12
	Uint64    DType = 13
	BFloat16  DType = 16

	// Types that are stored and converted, not computed with (see Stored).
	Float8E4M3FN   DType = 17 // no infinities
	Float8E4M3FNUZ DType = 18 // no infinities, no negative 0
	Float8E5M2     DType = 19
	Float8E5M2FNUZ DType = 20
	Uint4          DType = 21 // two per byte, low nibble first
	Int4           DType = 22 // two per byte, low nibble first
	Float4E2M1     DType = 23 // two per byte, low nibble first
	Float8E8M0     DType = 24 // a power of two
	Uint2          DType = 25 // four per byte, lowest bits first
	Int2           DType = 26 // four per byte, lowest bits first

	Sequence DType = 128 // Items are its elements; a scalar shape and no data
	Optional DType = 129 // one of Items, or none; a scalar shape and no data
)

// IsContainer reports whether a value of type d holds other values: a sequence or an optional.
func (d DType) IsContainer() bool { return d == Sequence || d == Optional }

var dtypes = map[DType]struct {
	name string
	bits int
}{
	Float32: {"float32", 32}, Uint8: {"uint8", 8}, Int8: {"int8", 8}, Uint16: {"uint16", 16},
	Int16: {"int16", 16}, Int32: {"int32", 32}, Int64: {"int64", 64}, String: {"string", 0},
	Bool: {"bool", 8}, Float16: {"float16", 16}, Float64: {"float64", 64}, Uint32: {"uint32", 32},
	Uint64: {"uint64", 64}, BFloat16: {"bfloat16", 16}, Uint4: {"uint4", 4}, Int4: {"int4", 4},
	Float8E4M3FN: {"float8e4m3fn", 8}, Float8E4M3FNUZ: {"float8e4m3fnuz", 8}, Float8E5M2: {"float8e5m2", 8}, Float8E5M2FNUZ: {"float8e5m2fnuz", 8},
	Float4E2M1: {"float4e2m1", 4}, Float8E8M0: {"float8e8m0", 8}, Uint2: {"uint2", 2}, Int2: {"int2", 2},
	Sequence: {"sequence", 0}, Optional: {"optional", 0},
}

// String returns the lower-case name, such as "float32".
func (d DType) String() string {
	if t, ok := dtypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Bits returns the size of one element in bits; 0 for String and unknown types.
func (d DType) Bits() int { return dtypes[d].bits }

// IsFloat reports whether d is a floating-point type.
func (d DType) IsFloat() bool {
	return d == Float32 || d == Float64 || d == Float16 || d == BFloat16
}

// Bytes returns how many bytes n elements of d take.
func (d DType) Bytes(n int) int { return (n*d.Bits() + 7) / 8 }

// Shape is the size of each axis; an empty shape is a scalar.
type Shape []int

// Elems returns the number of elements; 1 for a scalar.
func (s Shape) Elems() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// CheckedElems returns the number of elements, or false if a size is negative
// or the product does not fit in 62 bits.
func (s Shape) CheckedElems() (int, bool) {
	n := 1
	for _, d := range s {
		if d < 0 || (d > 0 && n > math.MaxInt64/2/d) {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// Equal reports whether s and t have the same sizes.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Clone returns a copy of s.
func (s Shape) Clone() Shape { return append(Shape{}, s...) }

// String returns the shape as "2x3x4"; a scalar is "scalar".
func (s Shape) String() string {
	if len(s) == 0 {
		return "scalar"
	}
	p := make([]string, len(s))
	for i, d := range s {
		p[i] = fmt.Sprint(d)
	}
	return strings.Join(p, "x")
}

// Strides returns the row-major strides of s in elements.
func (s Shape) Strides() []int {
	st := make([]int, len(s))
	n := 1
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = n
		n *= s[i]
	}
	return st
}

// Tensor is a value. The zero Tensor is an absent one.
type Tensor struct {
	DType DType
	Shape Shape
	Data  []byte // len is DType.Bytes(Shape.Elems()); aligned to its element size

	Items []*Tensor // of a sequence or an optional
}

// New returns a zero tensor. It panics on a negative size; check shapes that come from files with CheckedElems first.
func New(d DType, shape ...int) *Tensor {
	n, ok := Shape(shape).CheckedElems()
	if !ok {
		panic(fmt.Sprintf("tensor: bad shape %v", shape))
	}
	return &Tensor{DType: d, Shape: append(Shape{}, shape...), Data: Alloc(d.Bytes(n))}
}

// Alloc returns n zero bytes aligned to 64, with 64 bytes of slack behind them
// so that a vector load at the end stays inside the allocation.
func Alloc(n int) []byte {
	b := make([]byte, n+128)
	off := int(-uintptr(unsafe.Pointer(&b[0])) & 63)
	return b[off : off+n : off+n+64]
}

// FromBytes wraps data, copying it only if it is not aligned for d. It panics if the length is wrong.
func FromBytes(d DType, shape Shape, data []byte) *Tensor {
	if want := d.Bytes(shape.Elems()); len(data) != want {
		panic(fmt.Sprintf("tensor: %d bytes for %s %s, want %d", len(data), d, shape, want))
	}
	if len(data) > 0 && d.Bits() > 8 && uintptr(unsafe.Pointer(&data[0]))%uintptr(d.Bits()/8) != 0 {
		data = append(Alloc(len(data))[:0], data...)
	}
	return &Tensor{DType: d, Shape: shape, Data: data}
}

// Scalar types that a tensor can be viewed as.
type number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool
}

func view[T number](t *Tensor, want DType) []T {
	if t.DType != want {
		panic(fmt.Sprintf("tensor: %s viewed as %s", t.DType, want))
	}
	if len(t.Data) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(&t.Data[0])), len(t.Data)/int(unsafe.Sizeof(z)))
}

func of[T number](d DType, v []T, shape []int) *Tensor {
	t := New(d, shape...)
	if len(v) != t.Shape.Elems() {
		panic(fmt.Sprintf("tensor: %d values for shape %v", len(v), shape))
	}
	copy(view[T](t, d), v)
	return t
}

// Float32s views the elements; it panics unless the dtype is Float32. So do its siblings.
func (t *Tensor) Float32s() []float32 { return view[float32](t, Float32) }

// Float64s views the elements of a Float64 tensor.
func (t *Tensor) Float64s() []float64 { return view[float64](t, Float64) }

// Int64s views the elements of an Int64 tensor.
func (t *Tensor) Int64s() []int64 { return view[int64](t, Int64) }

// Int32s views the elements of an Int32 tensor.
func (t *Tensor) Int32s() []int32 { return view[int32](t, Int32) }

// Int16s views the elements of an Int16 tensor.
func (t *Tensor) Int16s() []int16 { return view[int16](t, Int16) }

// Int8s views the elements of an Int8 tensor.
func (t *Tensor) Int8s() []int8 { return view[int8](t, Int8) }

// Uint8s views the elements of a Uint8 tensor.
func (t *Tensor) Uint8s() []uint8 { return view[uint8](t, Uint8) }

// Uint16s views the elements of a Uint16, Float16 or BFloat16 tensor as bit patterns.
func (t *Tensor) Uint16s() []uint16 {
	return view[uint16](&Tensor{DType: t.DType16(), Shape: t.Shape, Data: t.Data}, Uint16)
}

// DType16 maps the 16-bit float types to Uint16, so that their bits can be viewed; others stay.
func (t *Tensor) DType16() DType {
	if t.DType == Float16 || t.DType == BFloat16 {
		return Uint16
	}
	return t.DType
}

// Uint32s views the elements of a Uint32 tensor.
func (t *Tensor) Uint32s() []uint32 { return view[uint32](t, Uint32) }

// Uint64s views the elements of a Uint64 tensor.
func (t *Tensor) Uint64s() []uint64 { return view[uint64](t, Uint64) }

// Bools views the elements of a Bool tensor.
func (t *Tensor) Bools() []bool { return view[bool](t, Bool) }

// OfFloat32 returns a tensor with a copy of v. It panics if the length does not fit the shape. So do its siblings.
func OfFloat32(v []float32, shape ...int) *Tensor { return of(Float32, v, shape) }

// OfFloat64 returns a Float64 tensor with a copy of v.
func OfFloat64(v []float64, shape ...int) *Tensor { return of(Float64, v, shape) }

// OfInt64 returns an Int64 tensor with a copy of v.
func OfInt64(v []int64, shape ...int) *Tensor { return of(Int64, v, shape) }

// OfInt32 returns an Int32 tensor with a copy of v.
func OfInt32(v []int32, shape ...int) *Tensor { return of(Int32, v, shape) }

// OfInt8 returns an Int8 tensor with a copy of v.
func OfInt8(v []int8, shape ...int) *Tensor { return of(Int8, v, shape) }

// OfUint8 returns a Uint8 tensor with a copy of v.
func OfUint8(v []uint8, shape ...int) *Tensor { return of(Uint8, v, shape) }

// OfBool returns a Bool tensor with a copy of v.
func OfBool(v []bool, shape ...int) *Tensor { return of(Bool, v, shape) }

// Elems returns the number of elements.
func (t *Tensor) Elems() int { return t.Shape.Elems() }

// Clone returns a deep copy.
func (t *Tensor) Clone() *Tensor {
	c := &Tensor{DType: t.DType, Shape: t.Shape.Clone()}
	if t.DType.IsContainer() {
		for _, x := range t.Items {
			c.Items = append(c.Items, x.Clone())
		}
		return c
	}
	c.Data = append(Alloc(len(t.Data))[:0], t.Data...)
	return c
}

// Reshape returns a tensor that shares t's data. It panics if the element counts differ.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	if Shape(shape).Elems() != t.Elems() {
		panic(fmt.Sprintf("tensor: reshape %s to %v", t.Shape, shape))
	}
	return &Tensor{DType: t.DType, Shape: append(Shape{}, shape...), Data: t.Data}
}

// Rows returns rows lo to hi of axis 0, sharing t's data.
func (t *Tensor) Rows(lo, hi int) *Tensor {
	row := 0
	if t.Shape[0] > 0 {
		row = len(t.Data) / t.Shape[0]
	}
	s := t.Shape.Clone()
	s[0] = hi - lo
	return &Tensor{DType: t.DType, Shape: s, Data: t.Data[lo*row : hi*row]}
}

// Float returns element i of a numeric tensor as float64 (Float16 and BFloat16 included).
func (t *Tensor) Float(i int) float64 {
	switch t.DType {
	case Float32:
		return float64(t.Float32s()[i])
	case Float64:
		return t.Float64s()[i]
	case Int64:
		return float64(t.Int64s()[i])
	case Int32:
		return float64(t.Int32s()[i])
	case Int16:
		return float64(t.Int16s()[i])
	case Int8:
		return float64(t.Int8s()[i])
	case Uint8:
		return float64(t.Uint8s()[i])
	case Uint16:
		return float64(t.Uint16s()[i])
	case Uint32:
		return float64(t.Uint32s()[i])
	case Uint64:
		return float64(t.Uint64s()[i])
	case Bool:
		return float64(t.Data[i])
	case BFloat16:
		return float64(math.Float32frombits(uint32(t.Uint16s()[i]) << 16))
	case Float16:
		return float64(Float16ToFloat32(t.Uint16s()[i]))
	}
	if t.DType.Stored() {
		return t.DType.Decode(t.Code(i))
	}
	panic("tensor: Float of " + t.DType.String())
}

// Float16ToFloat32 widens an IEEE 754 half.
func Float16ToFloat32(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch {
	case exp == 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp == 0:
		v := float32(frac) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(v))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}
