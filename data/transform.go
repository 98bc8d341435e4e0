package data

import (
	"math"

	"muster/record"
	"muster/tensor"
)

// Transform says how tabular features become numbers: numeric columns are
// standardised, categorical columns become one-hot. It is data, not code, so a
// release can carry it and name it by digest. For an image set it has no columns:
// images are given as they are and the graph normalises them.
type Transform struct {
	Version int               `json:"version"`
	Columns []TransformColumn `json:"columns,omitempty"`
}

// TransformColumn is the rule of one feature.
// Numeric: (value - Mean) / Std, in float64, rounded once to float32; missing gives 0, the mean.
// Categorical: one column for each of Categories, 1 where it matches; missing or unknown gives zeros.
type TransformColumn struct {
	Name       string   `json:"name"`
	Kind       Kind     `json:"kind"`
	Mean       float64  `json:"mean"`
	Std        float64  `json:"std"` // population; 1 where the column is constant
	Categories []string `json:"categories,omitempty"`
}

// FitTransform fits the transform of s on the given rows, which must be training rows.
// Without rows it does not shift or scale.
func FitTransform(s *Set, rows []int) *Transform {
	t := &Transform{Version: 1}
	for _, c := range s.Features() {
		switch c.Kind {
		case Numeric:
			mean, std := moments(c, rows)
			t.Columns = append(t.Columns, TransformColumn{Name: c.Name, Kind: Numeric, Mean: mean, Std: std})
		case Categorical:
			t.Columns = append(t.Columns, TransformColumn{Name: c.Name, Kind: Categorical, Std: 1, Categories: c.Categories})
		}
	}
	return t
}

// PlainTransform leaves numbers as they are: for models that bring their own preprocessing.
func PlainTransform(s *Set) *Transform {
	return FitTransform(s, nil)
}

// moments returns mean and population standard deviation of the values that are there.
// Each product is rounded before it is added, so that no compiler may fuse the two.
func moments(c *Column, rows []int) (mean, std float64) {
	v, n, sum := c.Values.Float32s(), 0, 0.0
	for _, r := range rows {
		if !c.IsMissing(r) {
			sum += float64(v[r])
			n++
		}
	}
	if n == 0 {
		return 0, 1
	}
	mean, sum = sum/float64(n), 0
	for _, r := range rows {
		if !c.IsMissing(r) {
			d := float64(v[r]) - mean
			sum += float64(d * d)
		}
	}
	if std = math.Sqrt(sum / float64(n)); std == 0 {
		std = 1
	}
	return mean, std
}

// Width returns the number of columns that a row becomes.
func (t *Transform) Width() int {
	w := 0
	for _, c := range t.Columns {
		if c.Kind == Categorical {
			w += len(c.Categories)
		} else {
			w++
		}
	}
	return w
}

// Digest names the transform.
func (t *Transform) Digest() record.Digest {
	d, err := record.DigestOf(t)
	if err != nil {
		panic("data: transform of finite numbers: " + err.Error())
	}
	return d
}

// apply writes the transformed rows of s, [len(rows), Width].
func (t *Transform) apply(s *Set, rows []int) *tensor.Tensor {
	w := t.Width()
	out := tensor.New(tensor.Float32, len(rows), w)
	if len(rows) == 0 {
		return out
	}
	y, at := out.Float32s(), 0
	for _, tc := range t.Columns {
		c := s.Column(tc.Name)
		switch {
		case tc.Kind == Categorical:
			if c != nil && c.Kind == Categorical {
				oneHot(y[at:], w, c, rows, codeMap(c.Categories, tc.Categories))
			}
			at += len(tc.Categories)
		default:
			if c != nil && c.Kind == Numeric {
				standardise(y[at:], w, c, rows, tc.Mean, tc.Std)
			}
			at++
		}
	}
	return out
}

func standardise(y []float32, stride int, c *Column, rows []int, mean, std float64) {
	v := c.Values.Float32s()
	for i, r := range rows {
		if !c.IsMissing(r) {
			y[i*stride] = float32((float64(v[r]) - mean) / std)
		}
	}
}

func oneHot(y []float32, stride int, c *Column, rows []int, to []int) {
	v := c.Values.Int64s()
	for i, r := range rows {
		if v[r] >= 0 && to[v[r]] >= 0 {
			y[i*stride+to[v[r]]] = 1
		}
	}
}

// codeMap translates codes of one list of categories to another; -1 is unknown.
func codeMap(from, to []string) []int {
	at := make(map[string]int, len(to))
	for i, c := range to {
		at[c] = i
	}
	m := make([]int, len(from))
	for i, c := range from {
		j, ok := at[c]
		if !ok {
			j = -1
		}
		m[i] = j
	}
	return m
}

// X returns the features of the given rows as float32: [n,C,H,W] as they are for an
// image set, [n,Width] through the transform for a tabular one. Without a
// transform, it is fitted on the rows that have the role Train.
func (s *Set) X(rows []int) *tensor.Tensor {
	if img := s.Image(); img != nil {
		return gather(img.Values, rows)
	}
	t := s.Transform
	if t == nil {
		t = FitTransform(s, s.Rows(Train))
	}
	return t.apply(s, rows)
}

// Y returns the label codes of the given rows, [n] int64.
func (s *Set) Y(rows []int) *tensor.Tensor {
	if t := s.target(); t != nil {
		return gather(t.Values, rows)
	}
	return tensor.New(tensor.Int64, 0)
}
