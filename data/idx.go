package data

import (
	"encoding/binary"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"muster/fault"
	"muster/tensor"
)

// idxTypes are the element types of the IDX format by the third byte of the file.
// Source: Y. LeCun, "The IDX file format", on the page of the MNIST database.
var idxTypes = map[byte]tensor.DType{
	0x08: tensor.Uint8, 0x09: tensor.Int8, 0x0B: tensor.Int16,
	0x0C: tensor.Int32, 0x0D: tensor.Float32, 0x0E: tensor.Float64,
}

// ParseIDX reads an IDX file: two zero bytes, a type, a number of axes, big-endian
// sizes and big-endian elements up to the end of the file.
func ParseIDX(name string, b []byte, limit Limit) (*tensor.Tensor, error) {
	limit = limit.orDefault()
	bad := func(offset int, format string, args ...any) error {
		return fault.New(fault.Malformed, fmt.Sprintf("%s: byte %d", name, offset), format, args...).
			WithHint("an IDX file starts with 00 00, a type, a number of axes and their sizes")
	}
	if len(b) < 4 || b[0] != 0 || b[1] != 0 {
		return nil, bad(0, "not an IDX file")
	}
	dtype, ok := idxTypes[b[2]]
	if !ok {
		return nil, bad(2, "unknown element type 0x%02x", b[2])
	}
	rank := int(b[3])
	if rank < 1 || rank > 4 || len(b) < 4+4*rank {
		return nil, bad(3, "%d axes in a file of %d bytes", rank, len(b))
	}
	shape := make(tensor.Shape, rank)
	for i := range shape {
		shape[i] = int(binary.BigEndian.Uint32(b[4+4*i:]))
	}
	n, ok := shape.CheckedElems()
	if !ok || n > limit.Cells || shape[0] > limit.Rows {
		return nil, fault.New(fault.Exhausted, name, "%s elements are more than the limit of %d", shape, limit.Cells)
	}
	body := b[4+4*rank:]
	if want := dtype.Bytes(n); len(body) != want {
		return nil, bad(4+4*rank, "%d bytes of elements, %s %s needs %d", len(body), dtype, shape, want)
	}
	return tensor.FromBytes(dtype, shape, swapBytes(body, dtype.Bits()/8)), nil
}

// swapBytes returns b with the bytes of each element in little-endian order.
func swapBytes(b []byte, size int) []byte {
	out := append(tensor.Alloc(len(b))[:0], b...)
	for i := 0; i+size <= len(out) && size > 1; i += size {
		for lo, hi := i, i+size-1; lo < hi; lo, hi = lo+1, hi-1 {
			out[lo], out[hi] = out[hi], out[lo]
		}
	}
	return out
}

// openIDX reads images and, unless cfg.Target is NoTarget, their labels.
func openIDX(path string, cfg OpenConfig) (*Set, error) {
	limit := cfg.Limit.orDefault()
	labels := cfg.Labels
	if labels == "" {
		dir, base := filepath.Split(path)
		labels = dir + strings.Replace(base, "images-idx3", "labels-idx1", 1)
	}
	px, err := readFile(path, limit.Bytes)
	if err != nil {
		return nil, err
	}
	var lb []byte
	if cfg.Target != NoTarget {
		if labels == path {
			return nil, fault.New(fault.NotFound, path, "no labels are known for these images").WithHint("name the label file, or say that there is no target")
		}
		if lb, err = readFile(labels, limit.Bytes); err != nil {
			return nil, err
		}
	}
	s, err := idxSet(path, px, labels, lb, cfg)
	return named(s, path), err
}

// idxSet joins the two files; lb is nil without labels.
func idxSet(pxName string, px []byte, lbName string, lb []byte, cfg OpenConfig) (*Set, error) {
	images, err := ParseIDX(pxName, px, cfg.Limit)
	if err != nil {
		return nil, err
	}
	img, err := idxImages(pxName, images, cfg.Range)
	if err != nil {
		return nil, err
	}
	s := &Set{Source: pxName, Columns: []*Column{img}}
	if lb != nil {
		t, err := ParseIDX(lbName, lb, cfg.Limit)
		if err != nil {
			return nil, err
		}
		c, err := idxLabels(lbName, t, images.Shape[0], cfg.Limit.orDefault())
		if err != nil {
			return nil, err
		}
		if s.Target = cfg.Target; s.Target == "" {
			s.Target = "label"
		}
		c.Name = s.Target
		s.Columns = append(s.Columns, c)
	}
	return s, s.Validate()
}

// idxImages makes [N,H,W] or [N,C,H,W] numbers an image column.
func idxImages(name string, t *tensor.Tensor, rng *[2]float64) (*Column, error) {
	shape := t.Shape
	if len(shape) == 3 {
		shape = tensor.Shape{shape[0], 1, shape[1], shape[2]}
	}
	if len(shape) != 4 || shape[0] == 0 || shape.Elems() == 0 || shape[1] > 4 {
		return nil, fault.New(fault.Unsupported, name, "%s is not a list of images", t.Shape).WithHint("images have the axes N H W or N C H W")
	}
	out := tensor.New(tensor.Float32, shape...)
	v := out.Float32s()
	for i := range v {
		v[i] = float32(t.Float(i))
	}
	c := &Column{Name: "image", Kind: Image, Values: out}
	switch {
	case rng != nil:
		c.Min, c.Max = &rng[0], &rng[1]
	case t.DType == tensor.Uint8:
		lo, hi := 0.0, 255.0
		c.Min, c.Max = &lo, &hi
	}
	return c, nil
}

// idxLabels makes one axis of integers a categorical column with the integers as names.
func idxLabels(name string, t *tensor.Tensor, n int, limit Limit) (*Column, error) {
	if len(t.Shape) != 1 || t.DType.IsFloat() {
		return nil, fault.New(fault.Unsupported, name, "%s %s is not a list of labels", t.DType, t.Shape)
	}
	if t.Shape[0] != n {
		return nil, fault.New(fault.Mismatch, name, "%d labels for %d images", t.Shape[0], n).WithHint("take the label file of these images")
	}
	seen := map[int]bool{}
	for i := range n {
		seen[int(t.Float(i))] = true
	}
	if len(seen) > limit.Categories {
		return nil, fault.New(fault.Exhausted, name, "%d different labels, the limit is %d", len(seen), limit.Categories)
	}
	var names []string
	code := map[int]int64{}
	for _, v := range slices.Sorted(maps.Keys(seen)) {
		code[v] = int64(len(names))
		names = append(names, strconv.Itoa(v))
	}
	c := &Column{Kind: Categorical, Values: tensor.New(tensor.Int64, n), Categories: names}
	for i, v := 0, c.Values.Int64s(); i < n; i++ {
		v[i] = code[int(t.Float(i))]
	}
	return c, nil
}
