package kernel

import (
	"fmt"
	"math/rand"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"muster/internal/team"
)

// fastestOf runs f for every iteration of b and returns the shortest time: of the thread's processor for one
// thread (other work on the machine does not count then), of the wall for several.
func fastestOf(b *testing.B, threads int, f func()) time.Duration {
	defer team.Resize(threads)()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	clock := int32(unix.CLOCK_THREAD_CPUTIME_ID)
	if threads > 1 {
		clock = unix.CLOCK_MONOTONIC
	}
	now := func() time.Duration {
		var t unix.Timespec
		if unix.ClockGettime(clock, &t) != nil {
			b.Fatal("no clock")
		}
		return time.Duration(t.Nano())
	}
	best := time.Duration(1 << 62)
	f()
	for b.Loop() {
		t := now()
		f()
		best = min(best, max(1, now()-t))
	}
	return best
}

// rate reports ops per second of the fastest run and its share of a peak that was measured just before.
func rate(b *testing.B, threads int, ops float64, peak func(time.Duration) float64, f func()) {
	top := peak(20*time.Millisecond) * float64(threads)
	t := fastestOf(b, threads, f)
	top = max(top, peak(5*time.Millisecond)*float64(threads))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ops/t.Seconds()/1e9, "Gop/s")
	b.ReportMetric(100*ops/t.Seconds()/top, "%peak")
}

// shapesMNK are square products and those of transformers.
var shapesMNK = [][3]int{{64, 64, 64}, {128, 128, 128}, {256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024}, {2048, 2048, 2048},
	{128, 768, 768}, {128, 3072, 768}, {128, 768, 3072}, {128, 384, 384}, {128, 1536, 384}, {128, 384, 1536}, {256, 3072, 768}, {256, 768, 3072}, {256, 50257, 768}, {512, 768, 768}, {2048, 768, 768}, {2048, 3072, 768},
	{1, 768, 3072}, {1, 3072, 3072}, {4, 768, 768}, {8, 3072, 768}, {16, 768, 768}, {16, 3072, 768}, {32, 768, 3072}, {64, 768, 768}, {64, 3072, 768}}

func BenchmarkGemm(b *testing.B) {
	r := rand.New(rand.NewSource(1))
	for _, s := range shapesMNK {
		m, n, k := s[0], s[1], s[2]
		x, w := randoms(r, m*k), randoms(r, k*n)
		for _, form := range []string{"plain", "packed", "transA", "transB", "bf16"} {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("%dx%dx%d/%s/threads=%d", m, n, k, form, threads), func(b *testing.B) {
					g := Gemm{M: m, N: n, K: k, LDA: k, LDB: n, LDC: n, A: x, B: w, C: make([]float32, m*n)}
					peak := PeakFlops
					switch form {
					case "packed":
						g.Packed = PackB(w, n, false, n, k)
					case "transA":
						g.TransA, g.LDA = true, m
					case "transB":
						g.TransB, g.LDB = true, k
					case "bf16":
						g.Half, peak = true, PeakBF16
					}
					scratch := make([]byte, g.ScratchBytes())
					rate(b, threads, 2*float64(m)*float64(n)*float64(k), peak, func() { g.Run(scratch) })
				})
			}
		}
	}
}

func BenchmarkQGemm(b *testing.B) {
	for _, s := range shapesMNK {
		m, n, k := s[0], s[1], s[2]
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%dx%dx%d/threads=%d", m, n, k, threads), func(b *testing.B) {
				g := QGemm{M: m, N: n, K: k, A: make([]uint8, m*k), LDA: k, B: PackQB(make([]int8, n*k), n, false, n, k), C: make([]int32, m*n), LDC: n}
				scratch := make([]byte, g.ScratchBytes())
				rate(b, threads, 2*float64(m)*float64(n)*float64(k), PeakInt8, func() { g.Run(scratch) })
			})
		}
	}
}

// BenchmarkPeaks is what the other figures are compared with.
func BenchmarkPeaks(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(PeakFlops(20*time.Millisecond)/1e9, "f32-Gop/s")
		b.ReportMetric(PeakInt8(20*time.Millisecond)/1e9, "int8-Gop/s")
		b.ReportMetric(PeakBF16(20*time.Millisecond)/1e9, "bf16-Gop/s")
		for _, m := range []struct {
			name string
			size int
		}{{"L1", 24 << 10}, {"L2", 600 << 10}, {"L3", 8 << 20}, {"DRAM", 256 << 20}} {
			read, triad := Bandwidth(m.size, 30*time.Millisecond)
			b.ReportMetric(read/1e9, m.name+"-read-GB/s")
			b.ReportMetric(triad/1e9, m.name+"-triad-GB/s")
		}
	}
}

func BenchmarkNGemm(b *testing.B) {
	r := rand.New(rand.NewSource(1))
	for _, s := range [][3]int{{1, 4096, 4096}, {1, 768, 768}, {8, 4096, 4096}, {16, 2048, 2048}, {128, 2048, 2048}, {128, 768, 768}} {
		m, n, k := s[0], s[1], s[2]
		for _, bits := range []int{4, 8} {
			w, scale, zero := nWeights(r, n, k, bits, 32)
			p := PackNB(w, scale, zero, n, k, bits, 32)
			x, c := randoms(r, m*k), make([]float32, m*n)
			for _, form := range []string{"int8", "f32"} {
				for _, threads := range []int{1, 2} {
					b.Run(fmt.Sprintf("%dx%dx%d/%dbit/%s/threads=%d", m, n, k, bits, form, threads), func(b *testing.B) {
						g := NGemm{M: m, N: n, K: k, A: x, LDA: k, B: p, C: c, LDC: n}
						f := Gemm{M: m, N: n, K: k, A: x, LDA: k, NBits: p, C: c, LDC: n}
						run, scratch, peak := f.Run, make([]byte, f.ScratchBytes()), PeakFlops
						if form == "int8" {
							run, scratch, peak = g.Run, make([]byte, g.ScratchBytes()), PeakInt8
						}
						rate(b, threads, 2*float64(m)*float64(n)*float64(k), peak, func() { run(scratch) })
					})
				}
			}
		}
	}
}
