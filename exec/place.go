package exec

import (
	"container/heap"
	"sort"
)

// maxBySize bounds the buffers that are placed largest first, which takes the square of their number.
const maxBySize = 1 << 13

// place gives every buffer an offset. It returns the arena size and the largest scratch.
func (l *layout) place(steps []step) (size, scratch int) {
	live := l.list[:0:0]
	for _, b := range l.list {
		if b.size < 0 {
			continue
		}
		if b.persistent {
			b.last = len(steps)
		}
		live = append(live, b)
	}
	for i := range steps {
		scratch = max(scratch, steps[i].kernel.Scratch)
	}
	if len(live) > maxBySize {
		return placeInOrder(live), scratch
	}
	return placeBySize(live), scratch
}

// placeBySize takes the largest first and gives it the lowest gap that is free during its life.
func placeBySize(live []*buffer) (size int) {
	sort.SliceStable(live, func(i, j int) bool { return live[i].size > live[j].size })
	var placed []*buffer
	for _, b := range live {
		b.offset = 0
		for _, o := range placed { // sorted by offset
			if o.last < b.first || b.last < o.first {
				continue
			}
			if b.offset+b.size <= o.offset {
				break
			}
			b.offset = max(b.offset, o.offset+o.size)
		}
		at := sort.Search(len(placed), func(i int) bool { return placed[i].offset > b.offset })
		placed = append(placed, nil)
		copy(placed[at+1:], placed[at:])
		placed[at] = b
		size = max(size, b.offset+b.size)
	}
	return size
}

// byLast is a heap of buffers: the one that dies first on top.
type byLast []*buffer

func (h byLast) Len() int           { return len(h) }
func (h byLast) Less(i, j int) bool { return h[i].last < h[j].last }
func (h byLast) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byLast) Push(x any)        { *h = append(*h, x.(*buffer)) }
func (h *byLast) Pop() any {
	old := *h
	b := old[len(old)-1]
	*h = old[:len(old)-1]
	return b
}

// gap is free memory.
type gap struct{ offset, size int }

// gaps are kept in the order of their offsets and never touch.
type gaps []gap

// placeInOrder takes the buffers as they come and gives each the smallest gap that fits at that time.
func placeInOrder(live []*buffer) (size int) {
	sort.SliceStable(live, func(i, j int) bool { return live[i].first < live[j].first })
	var alive byLast
	var free gaps
	for _, b := range live {
		for len(alive) > 0 && alive[0].last < b.first {
			o := heap.Pop(&alive).(*buffer)
			free.add(gap{o.offset, o.size})
		}
		if b.offset = free.take(b.size); b.offset < 0 {
			b.offset = size
			size += b.size
		}
		heap.Push(&alive, b)
	}
	return size
}

// take returns the offset of n bytes, -1 if no gap has so many.
func (f *gaps) take(n int) int {
	best := -1
	for i, g := range *f {
		if g.size >= n && (best < 0 || g.size < (*f)[best].size) {
			best = i
		}
	}
	if best < 0 {
		return -1
	}
	g := &(*f)[best]
	at := g.offset
	g.offset, g.size = g.offset+n, g.size-n
	if g.size == 0 {
		*f = append((*f)[:best], (*f)[best+1:]...)
	}
	return at
}

func (f *gaps) add(g gap) {
	at := sort.Search(len(*f), func(i int) bool { return (*f)[i].offset > g.offset })
	if at > 0 && (*f)[at-1].offset+(*f)[at-1].size == g.offset {
		at--
		(*f)[at].size += g.size
	} else {
		*f = append(*f, gap{})
		copy((*f)[at+1:], (*f)[at:])
		(*f)[at] = g
	}
	if at+1 < len(*f) && (*f)[at].offset+(*f)[at].size == (*f)[at+1].offset {
		(*f)[at].size += (*f)[at+1].size
		*f = append((*f)[:at+1], (*f)[at+2:]...)
	}
}
