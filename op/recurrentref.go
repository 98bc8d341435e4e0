package op

// recurrentRef walks over directions, sequences and steps in float64.
func recurrentRef(c *Call) error {
	r, err := recurrentOf(c.Node, shapesOf(c.In))
	if err != nil {
		return err
	}
	if err := r.check(c.In); err != nil {
		return err
	}
	get := func(i, n int) []float64 {
		if t := c.in(i); t != nil {
			return floats(t)
		}
		return make([]float64, n)
	}
	H, GH := r.H, r.G*r.H
	x, w, rec := floats(c.In[0]), floats(c.In[1]), floats(c.In[2])
	bias, h0, c0, peep := get(3, r.D*2*GH), get(5, r.D*r.B*H), get(6, r.D*r.B*H), get(7, r.D*3*H)
	y, yh, yc := make([]float64, r.T*r.D*r.B*H), make([]float64, r.D*r.B*H), make([]float64, r.D*r.B*H)
	for d := 0; d < r.D; d++ {
		s := refCell{recurrent: r, acts: r.acts[d], w: w[d*GH*r.I:][:GH*r.I], r: rec[d*GH*H:][:GH*H], wb: bias[d*2*GH:][:GH], rb: bias[d*2*GH+GH:][:GH], p: peep[d*3*H:][:3*H]}
		for b := 0; b < r.B; b++ {
			k := r.stateRow(d, b) * H
			s.h, s.c = append([]float64{}, h0[k:k+H]...), append([]float64{}, c0[k:k+H]...)
			n := r.steps(c.in(4), b)
			for step := 0; step < n; step++ {
				t := r.at(d, step, n)
				s.step(x[r.xRow(t, b)*r.I:][:r.I])
				copy(y[r.yRow(t, d, b)*H:][:H], s.h)
			}
			copy(yh[k:], s.h)
			copy(yc[k:], s.c)
		}
	}
	for i, v := range [][]float64{y, yh, yc} {
		if t := c.out(i); t != nil {
			setFloats(t, v)
		}
	}
	return nil
}

// refCell is one direction with its state.
type refCell struct {
	*recurrent
	acts            []cellAct
	w, r, wb, rb, p []float64
	h, c            []float64
}

// sum is gate g, element j: W x + bias and R state + bias on their own.
func (s *refCell) sum(g, j int, x, state []float64) (in, rec float64) {
	k := g*s.H + j
	in, rec = s.wb[k], s.rb[k]
	for i, v := range x {
		in += float64(s.w[k*s.I+i] * v)
	}
	for i, v := range state {
		rec += float64(s.r[k*s.H+i] * v)
	}
	return in, rec
}

// act is activation i of a clipped argument.
func (s *refCell) act(i int, x float64) float64 {
	if s.clip > 0 {
		x = min(max(x, -s.clip), s.clip)
	}
	return s.acts[i].f(x)
}

func (s *refCell) step(x []float64) {
	switch s.cell {
	case "LSTM":
		s.lstm(x)
	case "GRU":
		s.gru(x)
	default:
		h := make([]float64, s.H)
		for j := range h {
			a, u := s.sum(0, j, x, s.h)
			h[j] = s.act(0, a+u)
		}
		s.h = h
	}
}

// lstm: gates i, o, f, c; the output gate sees the new cell.
func (s *refCell) lstm(x []float64) {
	h, c, H := make([]float64, s.H), make([]float64, s.H), s.H
	for j := range h {
		gate := func(g int, peep float64) float64 {
			a, u := s.sum(g, j, x, s.h)
			return a + u + peep
		}
		i := s.act(0, gate(0, s.p[j]*s.c[j]))
		f := 1 - i
		if !s.coupled {
			f = s.act(0, gate(2, s.p[2*H+j]*s.c[j]))
		}
		c[j] = float64(f*s.c[j]) + float64(i*s.act(1, gate(3, 0)))
		o := s.act(0, gate(1, s.p[H+j]*c[j]))
		h[j] = o * s.acts[2].f(c[j])
	}
	s.h, s.c = h, c
}

// gru: gates z, r, h.
func (s *refCell) gru(x []float64) {
	H := s.H
	z, reset, h := make([]float64, H), make([]float64, H), make([]float64, H)
	held := make([]float64, H)
	for j := range z {
		a, u := s.sum(0, j, x, s.h)
		z[j] = s.act(0, a+u)
		a, u = s.sum(1, j, x, s.h)
		reset[j] = s.act(0, a+u)
		held[j] = reset[j] * s.h[j]
	}
	for j := range h {
		state := held
		if s.linear {
			state = s.h
		}
		a, u := s.sum(2, j, x, state)
		if s.linear {
			u *= reset[j]
		}
		h[j] = float64((1-z[j])*s.act(1, a+u)) + float64(z[j]*s.h[j])
	}
	s.h = h
}
