package main

import "math"

// prog describes what a kernel does with one vector of 16 float32 as a list of values that are
// written once each. Registers are assigned when it is emitted, for one zmm register per value or
// two ymm registers; what is left of n after whole vectors runs under a mask, with the same operations.
type prog struct {
	nodes []node
	accs  int // running values, reduced at the end
}

// val is a value of a prog: the index of the node that makes it.
type val int

type kind uint8

const (
	kConst  kind = iota // 16 equal words
	kScalar             // an argument in every lane
	kAcc                // a running value as it is before this vector
	kLoad               // 16 elements behind a pointer
	kOp                 // ins(args...)
	kImm                // ins(arg, immediate)
	kFma                // a*b + c, or c - a*b, with one rounding
	kCmp                // a mask: a (predicate) b
	kSelect             // mask ? a : b
	kScale              // a * 2^b for a whole number b
	kStore              // no value
	kNext               // no value: the running value after this vector
)

type node struct {
	kind kind
	ins  string // instruction, pointer, symbol or argument
	args []val
	imm  int
	com  bool // the two operands may change places
}

func (p *prog) add(n node) val {
	p.nodes = append(p.nodes, n)
	return val(len(p.nodes) - 1)
}

func (p *prog) bits(w uint32) val {
	for i, n := range p.nodes {
		if n.kind == kConst && uint32(n.imm) == w {
			return val(i)
		}
	}
	return p.add(node{kind: kConst, imm: int(w)})
}

func (p *prog) c(v float32) val         { return p.bits(math.Float32bits(v)) }
func (p *prog) scalar(i int) val        { return p.once(node{kind: kScalar, imm: i}) }
func (p *prog) acc(i int) val           { return p.once(node{kind: kAcc, imm: i}) }
func (p *prog) load(ptr string) val     { return p.add(node{kind: kLoad, ins: ptr}) }
func (p *prog) store(ptr string, v val) { p.add(node{kind: kStore, ins: ptr, args: []val{v}}) }
func (p *prog) next(i int, v val)       { p.add(node{kind: kNext, imm: i, args: []val{v}}) }
func (p *prog) op(ins string, a, b val) val {
	return p.add(node{kind: kOp, ins: ins, args: []val{a, b}})
}
func (p *prog) un(ins string, a val) val { return p.add(node{kind: kOp, ins: ins, args: []val{a}}) }
func (p *prog) imm(ins string, n int, a val) val {
	return p.add(node{kind: kImm, ins: ins, imm: n, args: []val{a}})
}

// once returns the node that is there already, or a new one.
func (p *prog) once(n node) val {
	for i, o := range p.nodes {
		if o.kind == n.kind && o.imm == n.imm {
			return val(i)
		}
	}
	return p.add(n)
}

func (p *prog) commute(ins string, a, b val) val {
	return p.add(node{kind: kOp, ins: ins, args: []val{a, b}, com: true})
}
func (p *prog) plus(a, b val) val  { return p.commute("VADDPS", a, b) }
func (p *prog) times(a, b val) val { return p.commute("VMULPS", a, b) }
func (p *prog) minus(a, b val) val { return p.op("VSUBPS", a, b) }
func (p *prog) over(a, b val) val  { return p.op("VDIVPS", a, b) }

// max and min return b if either is NaN.
func (p *prog) max(a, b val) val { return p.op("VMAXPS", a, b) }
func (p *prog) min(a, b val) val { return p.op("VMINPS", a, b) }

func (p *prog) abs(a val) val    { return p.commute("VANDPS", a, p.bits(0x7fffffff)) }
func (p *prog) sign(a val) val   { return p.commute("VANDPS", a, p.bits(0x80000000)) }
func (p *prog) xor(a, b val) val { return p.commute("VXORPS", a, b) }
func (p *prog) neg(a val) val    { return p.xor(a, p.bits(0x80000000)) }

// scale is a * 2^n, rounded once; n is a whole number between -300 and 256.
func (p *prog) scale(a, n val) val { return p.add(node{kind: kScale, args: []val{a, n}}) }

// round uses the hardware's modes: 0 nearest even, 1 down, 2 up.
func (p *prog) round(mode int, a val) val { return p.imm("ROUND", mode, a) }

// fma is a*b + c, fnma is c - a*b.
func (p *prog) fma(a, b, c val) val {
	return p.add(node{kind: kFma, ins: "VFMADD", args: []val{a, b, c}})
}
func (p *prog) fnma(a, b, c val) val {
	return p.add(node{kind: kFma, ins: "VFNMADD", args: []val{a, b, c}})
}

// The predicates of compare: false with NaN but for unordered and notEqual.
const (
	equal     = 0
	less      = 1
	lessEqual = 2
	unordered = 3
	notEqual  = 4

	greaterEqual = 13
	greater      = 14
)

func (p *prog) compare(pred int, a, b val) val {
	return p.add(node{kind: kCmp, imm: pred, args: []val{a, b}})
}

// pick is mask ? a : b.
func (p *prog) pick(mask, a, b val) val {
	return p.add(node{kind: kSelect, args: []val{mask, a, b}})
}

// poly evaluates c[0] + c[1] x + ... by Horner's rule.
func (p *prog) poly(x val, c ...float32) val {
	r := p.c(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		r = p.fma(r, x, p.c(c[i]))
	}
	return r
}
