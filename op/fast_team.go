package op

func teamRun(n int, f func(int)) {
	for i := 0; i < n; i++ {
		f(i)
	}
}
