package data

import (
	"math"
	"testing"

	"muster/fault"
	"muster/record"
	"muster/rng"
	"muster/tensor"
)

var testKey = rng.New(7).Named("test")

// ramp is n images of c x h x w with values that rise from 0 to 16.
func ramp(n, c, h, w int) *tensor.Tensor {
	x := tensor.New(tensor.Float32, n, c, h, w)
	for i, v := 0, x.Float32s(); i < len(v); i++ {
		v[i] = float32(i%(c*h*w)) * 16 / float32(c*h*w-1)
	}
	return x
}

func TestAugmentDependsOnTheRowOnly(t *testing.T) {
	a := Augment{Shift: 1, Rotate: 10, Zoom: 0.1, Noise: 0.05}
	x := ramp(4, 2, 5, 6)
	all := x.Clone()
	a.Apply(all, []int{9, 8, 7, 6}, 0, 16, testKey)
	two := x.Clone().Rows(0, 2)
	a.Apply(two, []int{7, 9}, 0, 16, testKey)
	if !tensor.Equal(two.Rows(0, 1), all.Rows(2, 3)) || !tensor.Equal(two.Rows(1, 2), all.Rows(0, 1)) {
		t.Error("a row comes out differently in another batch")
	}
	if tensor.Equal(all.Rows(0, 1), all.Rows(1, 2)) {
		t.Error("two rows are varied the same way")
	}
	same := x.Clone()
	if (Augment{}).Apply(same, []int{0, 1, 2, 3}, 0, 16, testKey); !tensor.Equal(same, x) {
		t.Error("the zero value changes pixels")
	}
	for i, v := range all.Float32s() {
		if v < 0 || v > 16 {
			t.Fatalf("value %d is %g", i, v)
		}
	}
}

// Shifts move whole pixels exactly, all nine of them occur, and what comes in is lo.
func TestAugmentShift(t *testing.T) {
	x := ramp(1, 1, 8, 8)
	src, seen := x.Float32s(), map[[2]int]int{}
	for row := range 200 {
		y := x.Clone()
		Augment{Shift: 1}.Apply(y, []int{row}, 0, 16, testKey)
		found := 0
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				if isShift(y.Float32s(), src, dy, dx) {
					seen[[2]int{dy, dx}]++
					found++
				}
			}
		}
		if found != 1 {
			t.Fatalf("row %d is %d shifts", row, found)
		}
	}
	if len(seen) != 9 {
		t.Errorf("%d of 9 shifts occur: %v", len(seen), seen)
	}
}

func isShift(y, src []float32, dy, dx int) bool {
	for i := range y {
		r, c := i/8-dy, i%8-dx
		want := float32(0)
		if r >= 0 && r < 8 && c >= 0 && c < 8 {
			want = src[r*8+c]
		}
		if y[i] != want {
			return false
		}
	}
	return true
}

func TestWarpRotatesByARightAngle(t *testing.T) {
	from, to := []float32{1, 2, 3, 4}, make([]float32, 4)
	motion{cos: 0, sin: 1}.warp(to, from, 2, 2, 0)
	// sy = dx, sx = -dy about the centre: the top row is the left column read downwards.
	for i, w := range []float32{2, 4, 1, 3} {
		if to[i] != w {
			t.Fatalf("got %v", to)
		}
	}
}

func TestSincos(t *testing.T) {
	for a := -math.Pi; a <= math.Pi; a += 0.01 {
		s, c := sincos(a)
		if math.Abs(s-math.Sin(a)) > 1e-13 || math.Abs(c-math.Cos(a)) > 1e-13 {
			t.Fatalf("sincos(%g) = %g, %g", a, s, c)
		}
	}
}

func TestCorruptErrors(t *testing.T) {
	x := ramp(1, 1, 4, 4)
	for _, tt := range []struct {
		name     string
		severity int
		x        *tensor.Tensor
		lo, hi   float32
		class    fault.Class
	}{
		{"fog", 1, x, 0, 16, fault.NotFound},
		{"contrast", 0, x, 0, 16, fault.Malformed},
		{"contrast", 6, x, 0, 16, fault.Malformed},
		{"contrast", 1, x, 16, 16, fault.Mismatch},
		{"contrast", 1, x.Reshape(16), 0, 16, fault.Mismatch},
	} {
		if _, err := Corrupt(tt.x, tt.name, tt.severity, tt.lo, tt.hi, testKey); fault.ClassOf(err) != tt.class {
			t.Errorf("%s/%d: %v, want class %s", tt.name, tt.severity, err, tt.class)
		}
	}
}

// Every corruption stays in the range, treats each row by itself, repeats with the key and
// moves further from the original with each severity (noise: on average). The distance does
// not order pixelate: a cell of 1.05 pixels blurs more of them than one of 1.11.
func TestCorruptProperties(t *testing.T) {
	const hi = 16
	x := open(t, "builtin:digits").Image().Values.Rows(0, 200)
	for _, name := range Corruptions() {
		last := 0.0
		for sev := 1; sev <= Severities; sev++ {
			y, err := Corrupt(x, name, sev, 0, hi, testKey)
			if err != nil {
				t.Fatal(err)
			}
			dist := 0.0
			for i, v := range y.Float32s() {
				if !(v >= 0 && v <= hi) {
					t.Fatalf("%s/%d: value %d is %g", name, sev, i, v)
				}
				dist += math.Abs(float64(v - x.Float32s()[i]))
			}
			if dist == 0 || dist <= last && name != "pixelate" {
				t.Errorf("%s/%d: distance %g after %g", name, sev, dist, last)
			}
			last = dist
			part, _ := Corrupt(x.Rows(0, 3), name, sev, 0, hi, testKey)
			if !tensor.Equal(part, y.Rows(0, 3)) {
				t.Errorf("%s/%d: a row depends on the rows behind it", name, sev)
			}
		}
	}
}

// A flat image stays as it is under contrast, blur and pixelate.
func TestCorruptFlatImage(t *testing.T) {
	x := tensor.New(tensor.Float32, 1, 1, 7, 5)
	for i := range x.Float32s() {
		x.Float32s()[i] = 4
	}
	for _, name := range []string{"contrast", "gaussian-blur", "pixelate"} {
		y, err := Corrupt(x, name, 5, 0, 16, testKey)
		if err != nil {
			t.Fatal(err)
		}
		if d := tensor.Diff(y, x, 1e-6, 0); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// Values by hand: brightness adds .5 of the range; contrast moves towards the mean 8 by
// .05; pixelate of 4 pixels to 2 (.65) takes means of pairs.
func TestCorruptByHand(t *testing.T) {
	x := tensor.OfFloat32([]float32{0, 4, 12, 16}, 1, 1, 1, 4)
	for name, want := range map[string][]float32{
		"brightness": {8, 12, 16, 16},
		"contrast":   {7.6, 7.8, 8.2, 8.4},
		"pixelate":   {2, 2, 14, 14},
	} {
		y, err := Corrupt(x, name, 5, 0, 16, testKey)
		if err != nil {
			t.Fatal(err)
		}
		if d := tensor.Diff(y, tensor.OfFloat32(want, 1, 1, 1, 4), 1e-6, 0); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestNoiseHasItsStrength(t *testing.T) {
	x := tensor.New(tensor.Float32, 100, 1, 20, 20)
	for i := range x.Float32s() {
		x.Float32s()[i] = 0.5
	}
	y, _ := Corrupt(x, "gaussian-noise", 1, 0, 1, testKey)
	sum, sq, n := 0.0, 0.0, float64(y.Elems())
	for _, v := range y.Float32s() {
		sum += float64(v) - 0.5
		sq += (float64(v) - 0.5) * (float64(v) - 0.5)
	}
	// 40,000 values: the mean is within 4 standard errors (0.0016), the deviation within 2%.
	if math.Abs(sum/n) > 0.0016 || math.Abs(math.Sqrt(sq/n)-0.08) > 0.0016 {
		t.Errorf("noise has mean %g and deviation %g, want 0 and 0.08", sum/n, math.Sqrt(sq/n))
	}
	y, _ = Corrupt(x, "impulse-noise", 3, 0, 1, testKey)
	low, high := 0.0, 0.0
	for _, v := range y.Float32s() {
		switch v {
		case 0:
			low++
		case 1:
			high++
		}
	}
	// 9% are hit, half of them each way; 4 standard errors are 0.0042.
	if math.Abs(low/n-0.045) > 0.0042 || math.Abs(high/n-0.045) > 0.0042 {
		t.Errorf("impulses: %g low, %g high, want 0.045 each", low/n, high/n)
	}
}

// TestCorruptBits pins the bits, which must be the same on every machine and version: a
// verdict of a release is computed again from them.
// corruptBits are digests of severity 3 on the first 50 digits.
var corruptBits = [][2]string{
	{"brightness", "d3c219fafcb8"},
	{"contrast", "2271768f4dc8"},
	{"gaussian-blur", "25a621289113"},
	{"gaussian-noise", "824b59ecccb1"},
	{"impulse-noise", "4461f3dfa8ae"},
	{"pixelate", "973ab0232b28"},
}

func TestCorruptBits(t *testing.T) {
	s := open(t, "builtin:digits")
	x := s.Image().Values.Rows(0, 50)
	want := map[string]string{}
	for _, line := range corruptBits {
		want[line[0]] = line[1]
	}
	for _, name := range Corruptions() {
		y, err := Corrupt(x, name, 3, 0, 16, testKey)
		if err != nil {
			t.Fatal(err)
		}
		if got := record.DigestBytes(y.Data).Short(); got != want[name] {
			t.Errorf("{%q, %q},", name, got)
		}
	}
}

func TestDownscale(t *testing.T) {
	x := tensor.New(tensor.Float32, 1, 1, 28, 28)
	v := x.Float32s()
	for y := 2; y < 6; y++ { // cell (1, 1) full
		for c := 2; c < 6; c++ {
			v[y*28+c] = 255
		}
	}
	v[0], v[1], v[28], v[29] = 255, 255, 255, 255 // cell (0, 0): its 2x2 pixels inside the image
	v[27*28+27] = 128                             // cell (7, 7): 128/255 rounds up to 1 of 16
	v[27*28+3] = 100                              // cell (7, 1): 100/255 rounds down
	y, err := Downscale(x, 0, 255)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range y.Float32s() {
		want := map[int]float32{0: 4, 9: 16, 63: 1}[i]
		if got != want {
			t.Errorf("cell %d is %g, want %g", i, got, want)
		}
	}
	if _, err := Downscale(ramp(1, 1, 8, 8), 0, 16); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("8x8: %v", err)
	}
}

func TestAdapt(t *testing.T) {
	digits, fashion := open(t, "builtin:digits"), open(t, "builtin:fashion")
	o, err := Adapt(fashion, digits)
	if err != nil {
		t.Fatal(err)
	}
	if lo, hi := o.Image().Range(); o.Image().Values.Shape.String() != "3000x1x8x8" || lo != 0 || hi != 16 || o.Validate() != nil {
		t.Errorf("%s", o.Describe())
	}
	if fashion.Image().Values.Shape.String() != "3000x1x28x28" {
		t.Error("the given set changed")
	}
	if same, err := Adapt(digits, digits); err != nil || same != digits {
		t.Errorf("a set of the right form: %v", err)
	}
	for _, s := range []*Set{open(t, "builtin:german-credit"), digits} {
		if _, err := Adapt(s, fashion); fault.ClassOf(err) != fault.Mismatch {
			t.Errorf("%s to fashion: %v", s.Name, err)
		}
	}
}
