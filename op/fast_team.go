package op

import "muster/internal/team"

func teamRun(n int, f func(int)) { team.Run(n, f) }
