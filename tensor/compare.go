package tensor

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// Equal reports whether a and b have the same dtype, shape and bits.
func Equal(a, b *Tensor) bool {
	if a.DType.IsContainer() && a.DType == b.DType {
		return slices.EqualFunc(a.Items, b.Items, Equal)
	}
	return a.DType == b.DType && a.Shape.Equal(b.Shape) && bytes.Equal(a.Data, b.Data)
}

// Diff describes the first and worst element where got is further than
// atol + rtol*|want| from want, or "" if there is none. NaN equals NaN.
func Diff(got, want *Tensor, rtol, atol float64) string {
	if got.DType.IsContainer() && got.DType == want.DType {
		return diffItems(got.Items, want.Items, rtol, atol)
	}
	if got.DType != want.DType || !got.Shape.Equal(want.Shape) {
		return fmt.Sprintf("got %s %s, want %s %s", got.DType, got.Shape, want.DType, want.Shape)
	}
	bad, first, worst, worstErr := 0, -1, -1, 0.0
	for i, n := 0, want.Elems(); i < n; i++ {
		g, w := got.Float(i), want.Float(i)
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		e := math.Abs(g - w)
		if e <= atol+rtol*math.Abs(w) {
			continue
		}
		bad++
		if first < 0 {
			first = i
		}
		if worst < 0 || e > worstErr || math.IsNaN(e) {
			worst, worstErr = i, e
		}
	}
	if bad == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d elements differ; first [%d] got %g want %g; worst [%d] got %g want %g",
		bad, want.Elems(), first, got.Float(first), want.Float(first), worst, got.Float(worst), want.Float(worst))
}

func diffItems(got, want []*Tensor, rtol, atol float64) string {
	if len(got) != len(want) {
		return fmt.Sprintf("got %d items, want %d", len(got), len(want))
	}
	for i := range got {
		if d := Diff(got[i], want[i], rtol, atol); d != "" {
			return fmt.Sprintf("item %d: %s", i, d)
		}
	}
	return ""
}

// String prints the dtype, the shape and up to eight elements.
func (t *Tensor) String() string {
	if t == nil {
		return "absent"
	}
	if t.DType.IsContainer() {
		return fmt.Sprintf("%s of %d", t.DType, len(t.Items))
	}
	s := fmt.Sprintf("%s %s [", t.DType, t.Shape)
	for i, n := 0, t.Elems(); i < n; i++ {
		if i == 8 {
			s += " ..."
			break
		}
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%.6g", t.Float(i))
	}
	return s + "]"
}
