package team

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEveryTaskRunsOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 7} {
		restore := Resize(threads)
		for n := 0; n < 200; n++ {
			seen := make([]atomic.Int32, n)
			Run(n, func(i int) { seen[i].Add(1) })
			for i := range seen {
				if c := seen[i].Load(); c != 1 {
					t.Fatalf("%d threads, %d tasks: task %d ran %d times", threads, n, i, c)
				}
			}
		}
		restore()
	}
}

func TestConcurrentAndNested(t *testing.T) {
	defer Resize(3)()
	var wg sync.WaitGroup
	var sum atomic.Int64
	for c := 0; c < 8; c++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for k := 0; k < 200; k++ {
				Run(5, func(i int) { Run(3, func(j int) { sum.Add(int64(i*3 + j)) }) })
			}
		}()
	}
	wg.Wait()
	if want := int64(8 * 200 * 105); sum.Load() != want {
		t.Errorf("sum %d, want %d", sum.Load(), want)
	}
}

func TestPanicSurfaces(t *testing.T) {
	defer Resize(2)()
	var ran atomic.Int32
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v", p)
			}
		}()
		Run(50, func(i int) {
			ran.Add(1)
			if i == 7 {
				panic("boom")
			}
		})
		t.Error("Run returned")
	}()
	if ran.Load() != 50 {
		t.Errorf("%d tasks ran, want all 50", ran.Load())
	}
	Run(4, func(int) {}) // the team is still there
}

func TestWakesAfterParking(t *testing.T) {
	defer Resize(2)()
	for k := 0; k < 5; k++ {
		time.Sleep(5 * time.Millisecond)
		var n atomic.Int32
		Run(100, func(int) { n.Add(1) })
		if n.Load() != 100 {
			t.Fatal(n.Load())
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	defer Resize(2)()
	fn := func(int) {}
	if n := testing.AllocsPerRun(100, func() { Run(8, fn) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEmptyRun(b *testing.B) {
	fn := func(int) {}
	for b.Loop() {
		Run(2, fn)
	}
}

// burn works for about d on one core.
func burn(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// BenchmarkGaps runs two tasks of 50 us each with serial work in between, as a model does; 50 us above the gap is ideal.
func BenchmarkGaps(b *testing.B) {
	for _, gap := range []time.Duration{0, 5, 20, 60, 200} {
		gap *= time.Microsecond
		b.Run(gap.String(), func(b *testing.B) {
			for b.Loop() {
				Run(2, func(int) { burn(50 * time.Microsecond) })
				burn(gap)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)-float64(gap.Microseconds()), "us/run")
		})
	}
}

// An idle team parks: it must not burn a core between the requests of a server.
func TestIdleWorkersPark(t *testing.T) {
	defer Resize(3)()
	Run(8, func(int) {})
	for range 200 {
		time.Sleep(5 * time.Millisecond)
		mu.Lock()
		parked := idle
		mu.Unlock()
		if parked == 2 {
			return
		}
	}
	t.Error("workers still look for work a second after the last region")
}
