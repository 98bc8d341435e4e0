package op

import (
	"muster/tensor"
)

var (
	opBitwiseAnd = binary{name: "BitwiseAnd", since: 18, ints: true, i: func(x, y int64) int64 { return x & y }}.op()
	opBitwiseOr  = binary{name: "BitwiseOr", since: 18, ints: true, i: func(x, y int64) int64 { return x | y }}.op()
	opBitwiseXor = binary{name: "BitwiseXor", since: 18, ints: true, i: func(x, y int64) int64 { return x ^ y }}.op()

	// BitShift by as many bits as the type has, or more, gives 0; so does a negative amount, except that
	// a negative number shifted right becomes -1 (opset 28 says so; before it was left open).
	opBitShift = bitShift()

	opBitwiseNot = Op{
		Name: "BitwiseNot", Since: 18, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, NoGrad: "it works on integers",
		Infer: func(c *InferCall) error {
			if d := c.In[0].DType; d.IsFloat() || d == tensor.Bool {
				return c.Errorf("input 0 is %s", d)
			}
			return sameAs(c)
		},
		Ref: func(c *Call) error {
			for i, x := range c.In[0].Data {
				c.Out[0].Data[i] = ^x
			}
			return nil
		},
	}
)

func bitShift() Op {
	o := binary{name: "BitShift", since: 11, ints: true, attrs: "direction"}.op()
	infer := o.Infer
	o.Infer = func(c *InferCall) error {
		if d := c.Node.Str("direction", ""); d != "LEFT" && d != "RIGHT" {
			return c.Errorf("direction %q", d)
		}
		return infer(c)
	}
	o.Ref = func(c *Call) error {
		left, width := c.Node.Str("direction", "") == "LEFT", uint64(c.In[0].DType.Bits())
		return binary{i: func(x, y int64) int64 {
			switch {
			case left && uint64(y) >= width:
				return 0
			case left:
				return x << uint64(y)
			case uint64(y) >= width:
				return x >> 63
			}
			return x >> uint64(y) // unsigned types below 64 bits are positive here
		}, u: func(x, y uint64) uint64 {
			if left {
				return x << y
			}
			return x >> y
		}}.ref(c)
	}
	return o
}
