package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"muster/internal/cpu"
	"muster/record"
)

// version is the version of this source tree; a release build may set it by -ldflags -X.
var version = "0.1.0"

func versionVerb(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version, commit, kernel tier and machine", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			h := host()
			return a.print(map[string]any{"version": code(), "host": h}, func(p *printer) {
				p.line("muster %s", code())
				p.line("%s/%s, %d CPUs, kernels %s, %s", h.OS, h.Arch, h.CPUs, h.Kernel, h.Go)
			})
		},
	}
}

// code names the program that wrote a record: version and, if known, the commit.
func code() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return version + "+" + s.Value[:12]
			}
		}
	}
	return version
}

func host() record.Host {
	return record.Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0), Kernel: cpu.Active().String(), Go: runtime.Version()}
}
