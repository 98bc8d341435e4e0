package op

// Hardmax is 1 at the first greatest element along an axis, 0 elsewhere. Before opset 13 it sees a
// matrix, as Softmax does.
func hardmax(since int) Op {
	flat := since < 13
	return Op{
		Name: "Hardmax", Since: since, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axis",
		NoGrad: "it is constant between jumps",
		Infer:  softmaxOp("Hardmax", since, false).Infer,
		Ref: func(c *Call) error {
			P, n, Q := lanes(c.In[0].Shape, c.Node.Int("axis", defaultAxis(flat)), flat)
			x, y := floats(c.In[0]), make([]float64, c.In[0].Elems())
			eachLane(P, n, Q, func(at []int) {
				best := 0
				for i := range at {
					if x[at[i]] > x[at[best]] {
						best = i
					}
				}
				if n > 0 {
					y[at[best]] = 1
				}
			})
			setFloats(c.Out[0], y)
			return nil
		},
	}
}

var (
	opHardmax1  = hardmax(1)
	opHardmax13 = hardmax(13)
)
