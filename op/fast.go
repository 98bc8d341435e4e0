package op

import (
	"muster/graph"
)

type binaryFast struct{}
type reduceFast struct{}

type fastUnary = func(n *graph.Node) func(dst, x []float32)

var (
	fastAbs, fastErf, fastExp, fastGelu, fastNeg, fastReciprocal, fastRelu, fastSigmoid, fastSign, fastSqrt, fastTanh fastUnary
	fastAdd, fastSub, fastMul, fastDiv, fastPow, fastMax, fastMin                                                     binaryFast
	fastSum, fastMean, fastGreatest, fastSumSquare                                                                    reduceFast
)

func mapKernel(n int, f func(dst, x []float32)) Kernel                  { return Kernel{} }
func binaryKernel(p *Prep, f binaryFast) (Kernel, bool)                 { return Kernel{}, false }
func reduceKernel(p *Prep, f reduceFast) (Kernel, bool)                 { return Kernel{}, false }
func clipKernel(p *Prep, lo, hi float32) (Kernel, bool)                 { return Kernel{}, false }
func castKernel(p *Prep) (Kernel, bool)                                 { return Kernel{}, false }
func softmaxKernel(p *Prep, P, n, Q int, logarithm bool) (Kernel, bool) { return Kernel{}, false }
func softmaxGradKernel(p *Prep, P, n, Q int) (Kernel, bool)             { return Kernel{}, false }
func geluGradKernel(p *Prep) (Kernel, bool)                             { return Kernel{}, false }
func layerNormKernel(p *Prep) (Kernel, bool)                            { return Kernel{}, false }
func layerNormGradKernel(p *Prep) (Kernel, bool)                        { return Kernel{}, false }
func crossEntropyKernel(p *Prep) (Kernel, bool)                         { return Kernel{}, false }
func crossEntropyGradKernel(p *Prep) (Kernel, bool)                     { return Kernel{}, false }
func adamKernel(p *Prep) (Kernel, bool)                                 { return Kernel{}, false }
func quantizeKernel(p *Prep) (Kernel, bool)                             { return Kernel{}, false }
func dequantizeKernel(p *Prep) (Kernel, bool)                           { return Kernel{}, false }
func matmulIntegerKernel(p *Prep) (Kernel, bool)                        { return Kernel{}, false }
func qlinearMatMulKernel(p *Prep) (Kernel, bool)                        { return Kernel{}, false }
func qlinearKernel(p *Prep, requant bool) (Kernel, bool)                { return Kernel{}, false }
func gemmKernel(p *Prep) (Kernel, bool)                                 { return Kernel{}, false }
func matmulKernel(p *Prep, tA, tB bool, alpha float32, bias interface{}) (Kernel, bool) {
	return Kernel{}, false
}
