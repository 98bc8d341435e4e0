.PHONY: bench
# Measures this machine beside the peers and writes docs/performance.md (bench/setup, bench/export.py and bench/fetch first).
bench:
	go run ./bench
