package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"muster/graph"
	"muster/internal/feed"
	"muster/tensor"
)

// modelFile is a model and the shapes it is run with: an entry of models.json (export.py) or pretrained.json.
type modelFile struct {
	File     string           `json:"file"`
	Model    string           `json:"model"`
	Exporter string           `json:"exporter"`
	Shapes   map[string][]int `json:"shapes"`
	Rtol     float64          `json:"rtol"` // of agreement with ONNX Runtime, relative to the largest output; 0: 2e-5
}

func (m modelFile) path() string { return filepath.Join(cache(), "models", m.File) }

// models lists the files that are there, by name.
func models() ([]modelFile, error) {
	var all []modelFile
	for _, list := range []string{filepath.Join(cache(), "models", "models.json"), filepath.Join("bench", "pretrained.json")} {
		b, err := os.ReadFile(list)
		if os.IsNotExist(err) {
			continue
		}
		var some []modelFile
		if err == nil {
			err = json.Unmarshal(b, &some)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", list, err)
		}
		for _, m := range some {
			if _, err := os.Stat(m.path()); err == nil {
				all = append(all, m)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no model in %s: bench/setup, bench/export.py and bench/fetch make them", cache())
	}
	sort.Slice(all, func(i, j int) bool { return all[i].File < all[j].File })
	return all, nil
}

// inputsOf writes the inputs of a model file to dir as .npy and returns the paths by input name.
func inputsOf(path string, c feed.Config, dir string) (map[string]string, error) {
	g, err := graph.Load(path)
	if err != nil {
		return nil, err
	}
	in, _, err := feed.Inputs(g, c)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i, v := range g.Inputs {
		out[v.Name] = filepath.Join(dir, fmt.Sprintf("in-%d.npy", i))
		if err := saveNPY(out[v.Name], in[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func saveNPY(path string, x *tensor.Tensor) error {
	b, err := feed.EncodeNPY(x)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
