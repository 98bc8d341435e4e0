// Command gen writes the assembly of package kernel and its Go declarations.
// It has no dependencies; `go generate ./internal/kernel` runs it.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// outputs lists the files that are written, each by one function, sorted by name.
var outputs = []struct {
	name  string
	write func(a *asm)
}{
	{"conv_amd64", conv},
	{"gemm_amd64", gemm},
	{"half_amd64", half},
	{"ngemm_amd64", ngemm},
	{"peak_amd64", peak},
	{"qgemm_amd64", qgemm},
	{"vec_amd64", vec},
	{"winograd_amd64", winograd},
}

// files returns the content of every generated file by name.
func files() map[string][]byte {
	m := map[string][]byte{}
	for _, o := range outputs {
		a := &asm{}
		o.write(a)
		m[o.name+".s"], m[o.name+"_decl.go"] = a.text(), a.declarations()
		if b := a.stubs(); b != nil {
			m[strings.TrimSuffix(o.name, "_amd64")+"_noasm.go"] = b
		}
	}
	return m
}

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	for name, b := range files() {
		old, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && bytes.Equal(old, b) {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
	}
}
