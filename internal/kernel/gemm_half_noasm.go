//go:build !amd64

package kernel

func halfRow(int, []float32, []float32) { panic("kernel: no assembly") }

func halfPairs(int, []float32, int, []float32, int, int) { panic("kernel: no assembly") }

func halfRows(int, int, []float32, int, operand, []float32, int, int, []float32) {
	panic("kernel: no assembly")
}
