package data

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"muster/rng"
	"muster/tensor"
)

// nearCopy changes row i of an image set by 1 in k pixels.
func nearCopy(px []float32, i, k int) {
	for j := range k {
		p := &px[i*64+j*9%64]
		if *p >= 16 {
			*p--
		} else {
			*p++
		}
	}
}

// TestDuplicatesPlanted plants copies and near copies in digits, which has none, and wants
// exactly those back.
func TestDuplicatesPlanted(t *testing.T) {
	rows := make([]int, 1000, 1060)
	for i := range rows {
		rows[i] = i
	}
	var exact [][]int
	var near [][2]int
	for i := range 20 {
		exact = append(exact, []int{i * 40, len(rows)})
		rows = append(rows, i*40)
	}
	for i := range 40 {
		near = append(near, [2]int{i*20 + 1, len(rows)})
		rows = append(rows, i*20+1)
	}
	s := open(t, "builtin:digits").Select(rows)
	for _, p := range near {
		nearCopy(s.Image().Values.Float32s(), p[1], 7)
	}
	d := FindDuplicates(s)
	if !slices.EqualFunc(d.Exact, exact, slices.Equal[[]int]) {
		t.Errorf("exact: got %v\nwant %v", d.Exact, exact)
	}
	if !slices.Equal(d.Near, near) || d.NearCount != len(near) || !d.Exhaustive {
		t.Errorf("near (threshold %g): got %v\nwant %v", d.Threshold, d.Near, near)
	}
	for i, g := range d.Groups {
		want := i
		if i >= 1000 {
			want = rows[i]
		}
		if g != want {
			t.Errorf("row %d is in group %d, want %d", i, g, want)
		}
	}
}

// In a table, categories and gaps must be equal and numbers nearly so.
func TestDuplicatesInTables(t *testing.T) {
	var b strings.Builder
	b.WriteString("a,b,k,y\n")
	for i := range 60 {
		fmt.Fprintf(&b, "%d,%d,%c,p\n", i*100, (i*37)%60*100, 'u'+rune(i%3))
	}
	b.WriteString("500.5,500,w,q\n")   // row 60: near row 5, which is 500,500,w
	b.WriteString("500.5,500,u,q\n")   // row 61: another category
	b.WriteString(",500,w,q\n")        // row 62: a gap
	b.WriteString("700,700,u,p\n")     // row 63
	b.WriteString("700,700.0,u,q\n")   // row 64: the same numbers
	b.WriteString("9000,500,w,q\n")    // row 65: far away
	b.WriteString("500.9,500.4,w,q\n") // row 66: near rows 5 and 60
	s, err := ParseCSV("t.csv", []byte(b.String()), OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	d := FindDuplicates(s)
	if want := [][]int{{63, 64}}; !slices.EqualFunc(d.Exact, want, slices.Equal[[]int]) {
		t.Errorf("exact: %v, want %v", d.Exact, want)
	}
	if want := [][2]int{{5, 60}, {5, 66}, {60, 66}}; !slices.Equal(d.Near, want) {
		t.Errorf("near: %v, want %v", d.Near, want)
	}
}

// Data that is dense by nature has no near duplicates: the threshold follows the data.
func TestDuplicatesInDenseData(t *testing.T) {
	const n = 3000
	st := testKey.Stream()
	v := make([]float32, n)
	for i := range v {
		v[i] = st.Float32()
	}
	s := &Set{Columns: []*Column{{Name: "a", Kind: Numeric, Values: tensor.OfFloat32(v, n)}, {Name: "b", Kind: Numeric, Values: tensor.OfFloat32(v[:n], n)}}}
	for i := range v {
		v[i] = st.Float32()
	}
	s.Columns[1].Values = tensor.OfFloat32(v, n)
	d := FindDuplicates(s)
	fixed := newVectors(s, sample(n, n, testKey))
	pairs := 0
	fixed.allPairs(NearShare, func(_, _ int) { pairs++ })
	// A fixed 1% would call hundreds of pairs of uniform points near.
	if pairs < 300 || d.NearCount > pairs/3 {
		t.Errorf("%d pairs at %g, %d at the fixed %g", d.NearCount, d.Threshold, pairs, NearShare)
	}
}

// The linear search finds what the exhaustive one finds, with stated loss.
func TestSortedPairsRecall(t *testing.T) {
	s := open(t, "builtin:fashion")
	rows := make([]int, 0, 3300)
	for i := range 3000 {
		rows = append(rows, i)
	}
	for i := range 300 {
		rows = append(rows, i*10)
	}
	s = s.Select(rows)
	px := s.Image().Values.Float32s()
	for i := 3000; i < s.Len(); i++ {
		st := rng.New(1).Split(uint64(i)).Stream()
		for j := range 784 { // +-2 grey levels where there is something
			if p := &px[i*784+j]; *p > 2 && *p < 253 {
				*p += float32(st.Intn(5) - 2)
			}
		}
	}
	v := newVectors(s, sample(s.Len(), s.Len(), testKey))
	all, some := map[[2]int]bool{}, 0
	v.allPairs(v.threshold(), func(a, b int) { all[[2]int{min(a, b), max(a, b)}] = true })
	v.sortedPairs(v.threshold(), func(a, b int) {
		if !all[[2]int{min(a, b), max(a, b)}] {
			t.Fatalf("pair %d, %d is not near", a, b)
		}
		some++
	})
	if len(all) != 300 {
		t.Errorf("the exhaustive search finds %d of 300 planted pairs", len(all))
	}
	if some < 294 {
		t.Errorf("the linear search finds %d of 300 planted pairs", some)
	}
	t.Logf("threshold %g, exhaustive %d, linear %d of 300", v.threshold(), len(all), some)
}

// Beyond the limit the cost must not explode: 25,000 rows that are all alike.
func TestManyAlikeRows(t *testing.T) {
	const n = ExhaustiveRows + 5000
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	d := FindDuplicates(&Set{Columns: []*Column{{Name: "a", Kind: Numeric, Values: tensor.OfFloat32(v, n)}}})
	if d.Exhaustive || d.NearCount > n*nearWindow || len(d.Near) > maxNearPairs {
		t.Errorf("exhaustive %v, %d pairs", d.Exhaustive, d.NearCount)
	}
}

func BenchmarkFindDuplicates(b *testing.B) {
	s := open(b, "builtin:fashion")
	for b.Loop() {
		FindDuplicates(s)
	}
}
