package graph

import (
	"os"
	"testing"
)

// BenchmarkLoad loads the file that MUSTER_BENCH_MODEL names.
func BenchmarkLoad(b *testing.B) {
	path := os.Getenv("MUSTER_BENCH_MODEL")
	if path == "" {
		b.Skip("MUSTER_BENCH_MODEL names no file")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(path); err != nil {
			b.Fatal(err)
		}
	}
}
