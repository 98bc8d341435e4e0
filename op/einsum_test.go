package op_test

import (
	"fmt"
	"strings"
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

var einsums = []struct {
	equation string
	shapes   [][]int
}{
	{"ij,jk->ik", [][]int{{3, 4}, {4, 5}}}, {"ij,jk", [][]int{{3, 4}, {4, 5}}}, {"bij,bjk->bik", [][]int{{2, 3, 4}, {2, 4, 5}}}, {"ij->ji", [][]int{{3, 4}}}, {"ba", [][]int{{3, 4}}},
	{"ij->i", [][]int{{3, 4}}}, {"ij->", [][]int{{3, 4}}}, {"ii->i", [][]int{{4, 4}}}, {"ii", [][]int{{4, 4}}}, {"iij->ij", [][]int{{3, 3, 4}}}, {"iii->i", [][]int{{3, 3, 3}}}, {"ijij->ij", [][]int{{2, 3, 2, 3}}},
	{"i,j->ij", [][]int{{3}, {4}}}, {"i,i->", [][]int{{5}, {5}}}, {"i,i->i", [][]int{{5}, {5}}}, {",ij->ij", [][]int{{}, {3, 4}}}, {"ij,->ij", [][]int{{3, 4}, {}}}, {"bhqd,bhkd->bhqk", [][]int{{2, 3, 4, 5}, {2, 3, 6, 5}}},
	{"bqhd,bkhd->bhqk", [][]int{{2, 4, 3, 5}, {2, 6, 3, 5}}}, {"bhqk,bkhd->bqhd", [][]int{{2, 3, 4, 6}, {2, 6, 3, 5}}}, {"...ij,...jk->...ik", [][]int{{2, 3, 4}, {2, 4, 5}}}, {"...ij,jk->...ik", [][]int{{2, 7, 3, 4}, {4, 5}}},
	{"...,...", [][]int{{2, 3}, {2, 3}}}, {"...i,...i->...", [][]int{{2, 3, 4}, {1, 3, 4}}}, {"i...,i...->...", [][]int{{4, 2, 3}, {4, 2, 3}}}, {"a...->...a", [][]int{{4, 2, 3}}}, {"...i->i", [][]int{{2, 3, 4}}},
	{"ab,bc,cd->ad", [][]int{{2, 3}, {3, 4}, {4, 5}}}, {"ab,cb,db->acd", [][]int{{2, 3}, {4, 3}, {5, 3}}}, {"ijk,jil->kl", [][]int{{2, 3, 4}, {3, 2, 5}}}, {"ijk,l->ijkl", [][]int{{2, 3, 4}, {5}}},
	{"abcd,efcd->abef", [][]int{{2, 3, 4, 5}, {6, 7, 4, 5}}}, {"aab,bc->ac", [][]int{{3, 3, 4}, {4, 5}}}, {"ij,kl->", [][]int{{2, 3}, {4, 5}}}, {"aB,Ba->", [][]int{{2, 3}, {3, 2}}}, {"ij,jk->ik", [][]int{{0, 4}, {4, 5}}}, {"ij,jk->ik", [][]int{{3, 0}, {0, 5}}},
	{"nhwpqc->nchpwq", [][]int{{2, 2, 2, 3, 3, 2}}}, {" b i , b i -> b ", [][]int{{3, 4}, {3, 4}}}, {"...ab,...bc", [][]int{{3, 4}, {4, 5}}}, {"bt,bt,bt->b", [][]int{{3, 4}, {3, 4}, {3, 4}}},
}

// einsumSamples are for the tests that all operators share.
func einsumSamples(add func(...sample)) {
	for _, e := range einsums {
		var in []arg
		for _, s := range e.shapes {
			in = append(in, ff(s...))
		}
		add(sample{op: "Einsum", in: in, attrs: attrs(graph.Str("equation", e.equation)), tol: 1e-5})
	}
	add(sample{op: "Einsum", in: at(ix(-5, 5, 3, 4), ix(-5, 5, 4, 2)), attrs: attrs(graph.Str("equation", "ij,jk->ik"))})
}

// Every equation against the sum over all values of all indices.
func TestEinsum(t *testing.T) {
	for _, e := range einsums {
		var in []arg
		for _, s := range e.shapes {
			in = append(in, as(ff(s...), tensor.Float64))
		}
		s := sample{op: "Einsum", in: in, attrs: attrs(graph.Str("equation", e.equation))}
		got := call(t, s)[0]
		if d := tensor.Diff(got, sumOfProducts(e.equation, in, got.Shape), 1e-12, 1e-12); d != "" {
			t.Errorf("%s of %v: %s", e.equation, e.shapes, d)
		}
	}
}

// sumOfProducts adds the product of the operands for every value of every index. Ellipses become letters first.
func sumOfProducts(equation string, in []arg, shape tensor.Shape) *tensor.Tensor {
	left, right, explicit := strings.Cut(strings.ReplaceAll(equation, " ", ""), "->")
	terms := strings.Split(left, ",")
	dots := ""
	for i := range terms {
		if k := len(in[i].t.Shape) - len(strings.ReplaceAll(terms[i], "...", "")); k > 0 {
			letters := "VWXYZ"[5-k:]
			terms[i] = strings.Replace(terms[i], "...", letters, 1)
			if len(letters) > len(dots) {
				dots = letters
			}
		} else {
			terms[i] = strings.Replace(terms[i], "...", "", 1)
		}
	}
	if !explicit {
		right = dots
		for r := 'A'; r <= 'z'; r++ {
			if !strings.ContainsRune("VWXYZ", r) && strings.Count(left, string(r)) == 1 {
				right += string(r)
			}
		}
	}
	right = strings.Replace(right, "...", dots, 1)
	size, letters, total := map[byte]int{}, []byte{}, 1
	for i, term := range terms {
		for a := range term {
			if _, ok := size[term[a]]; !ok {
				letters = append(letters, term[a])
			}
			size[term[a]] = max(size[term[a]], in[i].t.Shape[a])
		}
	}
	for _, l := range letters {
		total *= size[l]
	}
	out := tensor.New(tensor.Float64, shape...)
	for k := 0; k < total; k++ {
		at, rest := map[byte]int{}, k
		for _, l := range letters {
			at[l] = rest % size[l]
			rest /= size[l]
		}
		p := 1.0
		for i, term := range terms {
			p *= in[i].t.Float(place(term, at, in[i].t.Shape))
		}
		out.Float64s()[place(right, at, shape)] += p
	}
	return out
}

// place is the element at the values of a term's letters; an axis of size 1 is broadcast.
func place(term string, at map[byte]int, shape tensor.Shape) int {
	i := 0
	for a := range term {
		i = i*shape[a] + min(at[term[a]], shape[a]-1)
	}
	return i
}

// Equations that say nothing are refused with the node's place.
func TestEinsumErrors(t *testing.T) {
	for _, c := range []struct {
		equation string
		shapes   [][]int
	}{
		{"ij,jk->ik", [][]int{{3, 4}}}, {"ij->ij", [][]int{{3}}}, {"ij,jk->ik", [][]int{{3, 4}, {3, 5}}}, {"i->ii", [][]int{{3}}}, {"i->j", [][]int{{3}}}, {"i1->i", [][]int{{3, 2}}},
		{"...i...->i", [][]int{{3}}}, {"", [][]int{{3}}}, {"i..->i", [][]int{{3, 2, 2}}}, {"ii->i", [][]int{{3, 4}}},
	} {
		var in []arg
		for _, s := range c.shapes {
			in = append(in, ff(s...))
		}
		g, _, feeds := sample{op: "Einsum", in: in, attrs: attrs(graph.Str("equation", c.equation))}.build(t, false)
		if _, err := eval(g, feeds); fault.ClassOf(err) != fault.Mismatch {
			t.Error(fmt.Sprint(c), err)
		}
	}
}
