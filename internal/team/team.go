// Package team is the one process-wide team of threads: fork, join, and nothing else.
//
// The caller works too and waits only for tasks in flight, so a worker that the
// scheduler has not started costs nothing. Workers spin for a few tens of
// microseconds, then park.
package team

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spin is how long an idle worker looks for work before it parks. A parked worker takes longer to wake
// than most regions last (60 us and more on a virtual machine), so this covers the serial
// work between the operators of a model; after it the process is idle.
const spin = 100 * time.Microsecond

// region is one fork-join section; it is used again and again.
type region struct {
	fn      func(task int)
	n       int64
	next    atomic.Int64
	done    atomic.Int64
	failure atomic.Pointer[any] // first panic of a task
}

var (
	busy  sync.Mutex // held by the caller of the region under way
	cur   atomic.Pointer[region]
	epoch atomic.Uint64 // counts regions; odd while one is open
	inUse atomic.Int64  // workers inside the region
	mu    sync.Mutex    // guards the fields below
	cond  = sync.NewCond(&mu)
	idle  int // parked workers
	size  int // threads, the caller included; 0: not started
	quit  uint64
	one   region
)

// Size returns the number of threads that Run uses at most.
func Size() int {
	mu.Lock()
	defer mu.Unlock()
	start()
	return size
}

func start() {
	if size == 0 {
		grow(runtime.GOMAXPROCS(0))
	}
}

func grow(n int) {
	quit++
	size = n
	for i := 1; i < n; i++ {
		go worker(quit)
	}
	cond.Broadcast()
}

// Resize sets the number of threads and returns a function that restores it. It is for tests and must not overlap Run.
func Resize(n int) (restore func()) {
	mu.Lock()
	defer mu.Unlock()
	start()
	old := size
	grow(max(1, n))
	return func() {
		mu.Lock()
		defer mu.Unlock()
		grow(old)
	}
}

// Run calls fn(0) to fn(n-1), on several threads at once if another Run is not under
// way. A panic in a task surfaces here, after the other tasks ended.
func Run(n int, fn func(task int)) {
	if n <= 1 || !busy.TryLock() {
		for i := 0; i < n; i++ {
			fn(i)
		}
		return
	}
	defer busy.Unlock()
	if Size() == 1 {
		for i := 0; i < n; i++ {
			fn(i)
		}
		return
	}
	r := &one
	r.fn, r.n = fn, int64(n)
	r.next.Store(0)
	r.done.Store(0)
	r.failure.Store(nil)
	cur.Store(r)
	epoch.Add(1) // open
	mu.Lock()
	if idle > 0 {
		cond.Broadcast()
	}
	mu.Unlock()
	r.drain()
	for i := 0; r.done.Load() != r.n; i++ {
		if i > 1<<10 {
			runtime.Gosched()
		}
	}
	epoch.Add(1)                         // closed
	for i := 0; inUse.Load() != 0; i++ { // nobody may still look at the region
		if i > 1<<10 {
			runtime.Gosched()
		}
	}
	r.fn = nil
	if p := r.failure.Load(); p != nil {
		panic(*p)
	}
}

func (r *region) drain() {
	for {
		t := r.next.Add(1) - 1
		if t >= r.n {
			return
		}
		r.task(int(t))
	}
}

func (r *region) task(t int) {
	defer r.done.Add(1)
	defer func() {
		if p := recover(); p != nil {
			first := any(p) // on the heap only here
			r.failure.CompareAndSwap(nil, &first)
		}
	}()
	r.fn(t)
}

// look waits for the opening of a region after last, for the time of a spin, and returns the epoch it saw.
func look(last uint64) uint64 {
	var start time.Time
	for i := 1; ; i++ {
		if e := epoch.Load(); e&1 == 1 && e != last {
			return e
		} else if i&63 != 0 {
			continue
		} else if start.IsZero() {
			start = time.Now()
		} else if time.Since(start) > spin {
			return e
		}
		runtime.Gosched()
	}
}

// worker takes part in every region until its generation is over.
func worker(generation uint64) {
	last := uint64(0)
	for {
		e := look(last)
		if e&1 == 0 || e == last {
			mu.Lock()
			if generation != quit {
				mu.Unlock()
				return
			}
			if e = epoch.Load(); e&1 == 0 || e == last {
				idle++
				cond.Wait()
				idle--
			}
			if generation != quit {
				mu.Unlock()
				return
			}
			mu.Unlock()
			continue
		}
		last = e
		inUse.Add(1)
		if epoch.Load() == e { // still open: the caller waits for inUse before it goes on
			cur.Load().drain()
		}
		inUse.Add(-1)
	}
}
