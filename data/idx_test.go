package data

import (
	"bytes"
	"compress/gzip"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"muster/fault"
)

// idx builds an IDX file.
func idx(kind byte, sizes []byte, body ...byte) []byte {
	b := []byte{0, 0, kind, byte(len(sizes))}
	for _, s := range sizes {
		b = append(b, 0, 0, 0, s)
	}
	return append(b, body...)
}

func TestParseIDX(t *testing.T) {
	for _, tt := range []struct {
		in   []byte
		want []float64
	}{
		{idx(8, []byte{2}, 1, 255), []float64{1, 255}},
		{idx(9, []byte{2}, 1, 255), []float64{1, -1}},
		{idx(11, []byte{1}, 1, 2), []float64{258}},
		{idx(12, []byte{1, 1}, 255, 255, 255, 254), []float64{-2}},
		{idx(13, []byte{1}, 0xC0, 0x20, 0, 0), []float64{-2.5}},
		{idx(14, []byte{1}, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0), []float64{1.5}},
	} {
		got, err := ParseIDX("f", tt.in, Limit{})
		if err != nil {
			t.Errorf("% x: %v", tt.in, err)
			continue
		}
		for i, w := range tt.want {
			if got.Float(i) != w {
				t.Errorf("% x: element %d is %g, want %g", tt.in, i, got.Float(i), w)
			}
		}
	}
}

func TestParseIDXErrors(t *testing.T) {
	huge := []byte{0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}
	for _, tt := range []struct {
		in    []byte
		class fault.Class
		want  string
	}{
		{nil, fault.Malformed, "f: byte 0: not an IDX file"},
		{[]byte{1, 0, 8, 1, 0, 0, 0, 0}, fault.Malformed, "f: byte 0: not an IDX file"},
		{idx(7, []byte{1}, 0), fault.Malformed, "f: byte 2: unknown element type 0x07"},
		{idx(8, nil), fault.Malformed, "f: byte 3: 0 axes in a file of 4 bytes"},
		{[]byte{0, 0, 8, 3, 0, 0}, fault.Malformed, "f: byte 3: 3 axes in a file of 6 bytes"},
		{idx(8, []byte{3}, 1, 2), fault.Malformed, "f: byte 8: 2 bytes of elements, uint8 3 needs 3"},
		{idx(8, []byte{1}, 1, 2), fault.Malformed, "f: byte 8: 2 bytes of elements, uint8 1 needs 1"},
		{huge, fault.Exhausted, "f: 4294967295x4294967295x4294967295 elements are more than the limit of 67108864"},
	} {
		if _, err := ParseIDX("f", tt.in, Limit{}); err == nil || err.Error() != tt.want || fault.ClassOf(err) != tt.class {
			t.Errorf("% x:\n got %v\nwant %s", tt.in, err, tt.want)
		}
	}
}

func write(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(b []byte) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	z.Write(b)
	z.Close()
	return buf.Bytes()
}

func TestOpenIDXPair(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir+"/x-images-idx3-ubyte.gz", zipped(idx(8, []byte{2, 1, 2}, 1, 2, 3, 4)))
	write(t, dir+"/x-labels-idx1-ubyte.gz", zipped(idx(8, []byte{2}, 7, 3)))
	s, err := Open(path, OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "x-images-idx3-ubyte" || s.Image().Values.Shape.String() != "2x1x1x2" || !slices.Equal(s.Classes(), []string{"3", "7"}) || !slices.Equal(s.Labels(), []int64{1, 0}) {
		t.Errorf("%s: %v %v %v", s.Name, s.Image().Values, s.Classes(), s.Labels())
	}
	write(t, dir+"/x-labels-idx1-ubyte.gz", zipped(idx(8, []byte{3}, 7, 3, 1)))
	if _, err := Open(path, OpenConfig{}); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("three labels for two images: %v", err)
	}
	if s, err := Open(path, OpenConfig{Target: NoTarget}); err != nil || s.Labels() != nil {
		t.Errorf("without labels: %v", err)
	}
}

func pngOf(w, h int, c color.Color) []byte {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.Set(i%w, i/w, c)
	}
	var b bytes.Buffer
	png.Encode(&b, img)
	return b.Bytes()
}

func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/cat/1.png", pngOf(2, 1, color.Gray{7}))
	write(t, dir+"/dog/1.PNG", pngOf(2, 1, color.Gray{9}))
	write(t, dir+"/dog/.hidden", nil)
	s, err := Open(dir, OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Image().Values.Shape.String() != "2x1x1x2" || !slices.Equal(s.Image().Values.Float32s(), []float32{7, 7, 9, 9}) || !slices.Equal(s.Classes(), []string{"cat", "dog"}) {
		t.Errorf("%v %v", s.Image().Values, s.Classes())
	}
	write(t, dir+"/dog/2.png", pngOf(2, 1, color.NRGBA{1, 2, 3, 255}))
	if s, err = Open(dir, OpenConfig{}); err != nil || !slices.Equal(s.Image().Values.Float32s()[12:], []float32{1, 1, 2, 2, 3, 3}) {
		t.Errorf("colour: %v %v", s, err)
	}
	if _, err := Open(dir, OpenConfig{Image: "1x1x2"}); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("colour for one channel: %v", err)
	}
	for name, tt := range map[string]struct {
		b     []byte
		class fault.Class
	}{
		"dog/3.png":  {pngOf(3, 1, color.Black), fault.Mismatch},
		"dog/4.jpg":  {[]byte("not a picture"), fault.Malformed},
		"dog/5.png":  {pngOf(2, 1, color.Black)[:40], fault.Malformed},
		"dog/x.txt":  {nil, fault.Unsupported},
		"readme.txt": {nil, fault.Unsupported},
	} {
		path := write(t, filepath.Join(dir, name), tt.b)
		if _, err := Open(dir, OpenConfig{}); fault.ClassOf(err) != tt.class || !strings.Contains(err.Error(), name) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v (%s)", name, err, fault.HintOf(err))
		}
		os.Remove(path)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	cut := zipped([]byte(strings.Repeat("a,y\n1,2\n", 100)))
	for _, tt := range []struct {
		path  string
		class fault.Class
	}{
		{dir + "/none.csv", fault.NotFound},
		{write(t, dir+"/x.parquet", nil), fault.Unsupported},
		{write(t, dir+"/x.csv.gz", []byte("a,b")), fault.Malformed},
		{write(t, dir+"/cut.csv.gz", cut[:len(cut)-12]), fault.Malformed},
		{write(t, dir+"/bomb.csv.gz", zipped(make([]byte, 1<<20))), fault.Exhausted},
		{write(t, dir+"/x-images-idx3-ubyte", idx(8, []byte{1, 1, 1}, 0)), fault.NotFound},
		{dir + "/empty", fault.NotFound},
	} {
		if _, err := Open(tt.path, OpenConfig{Limit: Limit{Bytes: 1 << 16}}); fault.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want class %s", tt.path, err, tt.class)
		}
	}
}
