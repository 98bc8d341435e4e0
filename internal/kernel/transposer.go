package kernel

import (
	"muster/internal/cpu"
	"muster/internal/team"
)

// Transposer moves a batch of matrices [Rows, Cols] to [Cols, Rows], on the team.
type Transposer struct {
	Batch, Rows, Cols int

	dst, src []float32
	rows     int // of a task; a multiple of 16
	blocks   int
	run      func(int)
}

// Run is dst = transposed src. It allocates at its first call only.
func (t *Transposer) Run(dst, src []float32) {
	if t.run == nil {
		t.rows = max(16, (1<<14)/max(1, t.Cols)&^15)
		t.blocks = ceilDiv(t.Rows, t.rows)
		t.run = t.task
	}
	t.dst, t.src = dst, src
	team.Run(t.Batch*t.blocks, t.run)
}

func (t *Transposer) task(i int) {
	n, r0 := i/t.blocks, i%t.blocks*t.rows
	at := n * t.Rows * t.Cols
	rows := min(t.rows, t.Rows-r0)
	transpose(cpu.Active(), t.dst[at+r0:at+t.Rows*t.Cols], t.Rows, t.src[at+r0*t.Cols:], t.Cols, rows, t.Cols)
}
