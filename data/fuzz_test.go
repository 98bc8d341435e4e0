package data

import (
	"bytes"
	"testing"
)

// small limits keep an input of a few bytes from asking for much memory.
var fuzzLimit = Limit{Bytes: 1 << 16, Rows: 1000, Columns: 64, Cells: 1 << 14, Categories: 100}

// FuzzCSV: whatever the bytes, an error or a set that keeps its own contract, has one row
// for each record, and reads the same again.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"a,b,y\n1,2,p\n3,,q\n", "1,2\r\n3,4\r\n", "\xef\xbb\xbfa,y\n\"x\"\"y\",2\n", "a,y\n\n1,2\n", "a\n1\n",
		"a,y\n\"1\n2\",3\n", "a;y\n1;2\n", "1e39,1\n", "a,a\n1,2\n", "a,y\n1,\"2\n", "\r\n\r\n", "a,y\n\xff,1\n", "c1,c2,image\n1,2,3\n",
	} {
		f.Add([]byte(s), "", byte(0))
		f.Add([]byte(s), "1x1x2", byte(2))
	}
	f.Fuzz(func(t *testing.T, b []byte, image string, flags byte) {
		cfg := OpenConfig{Image: image, Limit: fuzzLimit}
		if flags&1 != 0 {
			cfg.Target = NoTarget
		}
		if flags&2 != 0 {
			cfg.Header = NoHeader
		}
		if flags&4 != 0 {
			cfg.Comma = ';'
		}
		if flags&8 != 0 {
			cfg.Range = &[2]float64{0, 16}
		}
		s, err := ParseCSV("f.csv", b, cfg)
		if err != nil {
			if s != nil {
				t.Fatal("a set next to an error")
			}
			return
		}
		again, err := ParseCSV("f.csv", b, cfg)
		if err != nil || again.Digest() != s.Digest() {
			t.Fatalf("read twice: %v", err)
		}
		if len(s.Lines) != s.Len() || s.Describe() == "" {
			t.Fatalf("%d lines for %d rows", len(s.Lines), s.Len())
		}
		rows := make([]int, s.Len())
		for i := range rows {
			rows[i] = i
			if s.Lines[i] < 1 || i > 0 && s.Lines[i] <= s.Lines[i-1] {
				t.Fatalf("lines %v", s.Lines)
			}
		}
		if x := s.X(rows); x.Shape[0] != s.Len() {
			t.Fatalf("features %s for %d rows", x.Shape, s.Len())
		}
		if g := FindDuplicates(s).Groups; len(g) != s.Len() {
			t.Fatalf("%d groups", len(g))
		}
	})
}

// FuzzIDX: an error or a tensor whose size is that of the file.
func FuzzIDX(f *testing.F) {
	f.Add(idx(8, []byte{2, 1, 2}, 1, 2, 3, 4), idx(8, []byte{2}, 7, 3))
	f.Add(idx(14, []byte{1}, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0), idx(12, []byte{1}, 0x7F, 0xFF, 0xFF, 0xFF))
	f.Add(idx(13, []byte{1, 1, 1, 1}, 0x7F, 0xC0, 0, 0), idx(9, []byte{1}, 0x80))
	f.Add([]byte{0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255}, []byte{0, 0, 8, 1})
	f.Fuzz(func(t *testing.T, px, lb []byte) {
		if x, err := ParseIDX("f", px, fuzzLimit); err == nil && len(x.Data)+4+4*len(x.Shape) != len(px) {
			t.Fatalf("%s from %d bytes", x.Shape, len(px))
		}
		s, err := idxSet("px", px, "lb", lb, OpenConfig{Limit: fuzzLimit})
		if err == nil && (s.Len() == 0 || len(s.Labels()) != s.Len()) {
			t.Fatalf("%d rows, %d labels", s.Len(), len(s.Labels()))
		}
	})
}

// FuzzSchema: an error or a schema that a table can be read with.
func FuzzSchema(f *testing.F) {
	f.Add([]byte(`{"columns":[{"name":"a","kind":"numeric","min":0,"max":1},{"name":"y","kind":"categorical","categories":["p","q"]}],"target":"y"}`))
	f.Add([]byte(`{"columns":[{"name":"a","ignore":true},{"name":"y","kind":"categorical"}]}`))
	f.Add([]byte(`{"columns":[{"name":"a","kind":"image"}]}`))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sc, err := ParseSchema("s", b)
		if err != nil {
			return
		}
		if s, err := ParseCSV("f.csv", []byte("1,p\n2,q\n"), OpenConfig{Schema: sc, Header: NoHeader}); err == nil {
			s.Digest()
			if s.Len() != 2 {
				t.Fatalf("%d rows", s.Len())
			}
		}
	})
}

// FuzzLedger: an error or a ledger that encodes to what it was read from, up to spaces.
func FuzzLedger(f *testing.F) {
	d := `"sha256:0000000000000000000000000000000000000000000000000000000000000000"`
	f.Add([]byte(`{"version":1,"data":` + d + `,"split":{"train":0.6,"select":0.1,"calibrate":0.15,"threshold":0,"test":0.15,"seed":1},"groups":` + d + `,"roles":"ttsceh-","uses":[{"role":"test","purpose":"report","count":2}]}`))
	f.Add([]byte(`{"version":1,"data":` + d + `,"split":{},"groups":` + d + `,"roles":"","uses":[{"role":"test","purpose":"report","count":1},{"role":"test","purpose":"report","count":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLedger("l", b)
		if err != nil {
			return
		}
		l.Use(Train, Fit)
		l.Use(Test, Report)
		one, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseLedger("l", one)
		if err != nil {
			t.Fatal(err)
		}
		if two, _ := back.Encode(); !bytes.Equal(one, two) || back.Digest() != l.Digest() || back.Looks() != l.Looks() {
			t.Fatalf("%s\nbecomes\n%s", one, two)
		}
	})
}
