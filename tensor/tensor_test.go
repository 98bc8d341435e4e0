package tensor

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		d    DType
		n    int
		want int
		name string
	}{{Float32, 3, 12, "float32"}, {Float16, 3, 6, "float16"}, {BFloat16, 1, 2, "bfloat16"}, {Int64, 2, 16, "int64"}, {Bool, 5, 5, "bool"},
		{Int4, 3, 2, "int4"}, {Uint4, 4, 2, "uint4"}, {Uint4, 0, 0, "uint4"}, {String, 9, 0, "string"}, {Undefined, 9, 0, "dtype(0)"}} {
		if got := c.d.Bytes(c.n); got != c.want || c.d.String() != c.name {
			t.Errorf("%d of %s take %d bytes, want %d (%s)", c.n, c.d, got, c.want, c.name)
		}
	}
}

func TestShape(t *testing.T) {
	for _, c := range []struct {
		s     Shape
		elems int
		ok    bool
		text  string
	}{{Shape{}, 1, true, "scalar"}, {Shape{2, 3, 4}, 24, true, "2x3x4"}, {Shape{0, 5}, 0, true, "0x5"}, {Shape{-1}, 0, false, "-1"},
		{Shape{1 << 31, 1 << 31}, 0, false, "2147483648x2147483648"}, {Shape{1 << 40, 0}, 0, true, "1099511627776x0"}} {
		n, ok := c.s.CheckedElems()
		if ok != c.ok || ok && n != c.elems || c.s.String() != c.text {
			t.Errorf("%v: %d %v %q, want %d %v %q", []int(c.s), n, ok, c.s.String(), c.elems, c.ok, c.text)
		}
	}
	if s := (Shape{2, 3, 4}).Strides(); s[0] != 12 || s[1] != 4 || s[2] != 1 {
		t.Errorf("strides %v", s)
	}
	a := Shape{1, 2}
	b := a.Clone()
	b[0] = 9
	if a[0] != 1 || a.Equal(b) || !a.Equal(Shape{1, 2}) || a.Equal(Shape{1}) {
		t.Error("Clone or Equal")
	}
}

// TestFloat16 compares every half with the formula of IEEE 754-2019, section 3.4.
func TestFloat16(t *testing.T) {
	for h := 0; h < 1<<16; h++ {
		sign, exp, frac := 1-2*float64(h>>15), h>>10&31, float64(h&1023)
		var want float64
		switch {
		case exp == 31 && frac != 0:
			want = math.NaN()
		case exp == 31:
			want = sign * math.Inf(1)
		case exp == 0:
			want = sign * math.Ldexp(frac/1024, -14)
		default:
			want = sign * math.Ldexp(1+frac/1024, exp-15)
		}
		got := float64(Float16ToFloat32(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (h>>15 == 1) {
			t.Fatalf("half %#04x is %g, want %g", h, got, want)
		}
	}
	b := FromBytes(BFloat16, Shape{2}, []byte{0xc0, 0x3f, 0x80, 0xff}) // 1.5, -inf
	if b.Float(0) != 1.5 || !math.IsInf(b.Float(1), -1) {
		t.Errorf("bfloat16 %g %g", b.Float(0), b.Float(1))
	}
}

func TestDiff(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		got, want  []float32
		rtol, atol float64
		say        string // "": equal
	}{
		{[]float32{1, 2}, []float32{1, 2}, 0, 0, ""},
		{[]float32{nan, inf}, []float32{nan, inf}, 0, 0, ""},
		{[]float32{1, nan}, []float32{1, 2}, 1, 1, "1 of 2"},
		{[]float32{inf}, []float32{1}, 0, 1e30, "1 of 1"},
		{[]float32{101}, []float32{100}, 0.01, 0, ""},
		{[]float32{101.5}, []float32{100}, 0.01, 0, "got 101.5 want 100"},
		{[]float32{1, 5, 9}, []float32{1, 4, 1}, 0, 0.5, "2 of 3 elements differ; first [1] got 5 want 4; worst [2] got 9 want 1"},
	} {
		d := Diff(OfFloat32(c.got, len(c.got)), OfFloat32(c.want, len(c.want)), c.rtol, c.atol)
		if (d == "") != (c.say == "") || !strings.Contains(d, c.say) {
			t.Errorf("%v against %v: %q, want %q", c.got, c.want, d, c.say)
		}
	}
	if d := Diff(OfFloat32([]float32{1, 2}, 2), OfFloat32([]float32{1, 2}, 1, 2), 1, 1); d == "" {
		t.Error("other shapes are no difference")
	}
	if d := Diff(OfInt32([]int32{1}, 1), OfInt64([]int64{1}, 1), 1, 1); d == "" {
		t.Error("other types are no difference")
	}
	if Equal(OfFloat32([]float32{0}, 1), OfFloat32([]float32{float32(math.Copysign(0, -1))}, 1)) {
		t.Error("Equal compares bits: 0 is not -0")
	}
}

func TestTensor(t *testing.T) {
	x := OfFloat32([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	rows := x.Rows(1, 3)
	if !rows.Shape.Equal(Shape{2, 2}) || rows.Float(0) != 3 {
		t.Errorf("rows 1 to 3: %s", rows)
	}
	c := x.Clone()
	c.Float32s()[0] = 9
	if x.Float(0) != 1 || rows.Data[0] != x.Data[8] {
		t.Error("Clone shares memory")
	}
	if got := OfInt8([]int8{-1, 2}, 2).String(); got != "int8 2 [-1 2]" {
		t.Errorf("%q", got)
	}
	if got := New(Float32, 10).String(); !strings.HasSuffix(got, "...]") {
		t.Errorf("%q", got)
	}
	if got := (*Tensor)(nil).String(); got != "absent" {
		t.Errorf("%q", got)
	}
	odd := make([]byte, 9)
	v := FromBytes(Float64, Shape{1}, odd[1:]) // not aligned: copied
	odd[8] = 1
	if !bytes.Equal(v.Data, make([]byte, 8)) {
		t.Error("unaligned data was not copied")
	}
}

// TestMisuse: wrong Go code panics with the package's name.
func TestMisuse(t *testing.T) {
	for name, f := range map[string]func(){
		"a length that does not fit": func() { OfFloat32([]float32{1}, 2) },
		"too few bytes":              func() { FromBytes(Float32, Shape{2}, make([]byte, 7)) },
		"a negative size":            func() { New(Float32, -1) },
		"a view of another type":     func() { OfInt32([]int32{1}, 1).Float32s() },
	} {
		func() {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "tensor: ") {
					t.Errorf("%s: %v", name, s)
				}
			}()
			f()
		}()
	}
}
