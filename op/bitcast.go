package op

import (
	"muster/fault"
	"muster/tensor"
)

// BitCast gives the bits of its input another type of the same width.
var opBitCast = Op{
	Name: "BitCast", Since: 26, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "to", Stored: true, NoGrad: "bits have no derivative",
	Infer: func(c *InferCall) error {
		to, from := tensor.DType(c.Node.Int("to", 0)), c.In[0].DType
		if !numeric(to) && !to.Stored() {
			return c.unsupported("BitCast to %s is not supported", to)
		}
		if to.Bits() != from.Bits() {
			return fault.New(fault.Mismatch, c.Node.Place(), "%s has %d bits, %s has %d", from, from.Bits(), to, to.Bits())
		}
		c.Set(0, to, c.In[0].Shape)
		return nil
	},
	Ref: func(c *Call) error {
		copy(c.Out[0].Data, c.In[0].Data)
		return nil
	},
}
