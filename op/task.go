package op

import (
	"muster/internal/team"
	"muster/tensor"
)

// chunk is how many elements one task of an element-wise kernel works on. Work is
// split by this constant and the shape only, so results do not depend on the threads.
const chunk = 1 << 14

// tasksFor returns the number of chunks that n elements make.
func tasksFor(n int) int { return (n + chunk - 1) / chunk }

// bounds are the elements of one chunk.
func bounds(n, task int) (lo, hi int) { return task * chunk, min(n, (task+1)*chunk) }

// rowsPer is how many rows of n elements one task takes.
func rowsPer(n int) int { return max(1, chunk/max(n, 1)) }

// body is one task of a kernel.
type body func(in, out []*tensor.Tensor, scratch []byte, task int)

// split returns a Run that does the tasks in parallel. The closure that the team
// calls is made once, so that Run does not allocate; runs of one kernel take turns.
func split(tasks int, f body) func(in, out []*tensor.Tensor, scratch []byte) {
	var (
		in, out []*tensor.Tensor
		scratch []byte
	)
	one := func(task int) { f(in, out, scratch, task) }
	return func(i, o []*tensor.Tensor, s []byte) {
		in, out, scratch = i, o, s
		team.Run(tasks, one)
	}
}

// serial returns a Run that does everything in one call.
func serial(f func(in, out []*tensor.Tensor)) func(in, out []*tensor.Tensor, scratch []byte) {
	return func(in, out []*tensor.Tensor, _ []byte) { f(in, out) }
}
