package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/data"
	"muster/fault"
	"muster/graph"
	"muster/record"
	"muster/release/store"
)

// app is what all verbs share: where to print and the store.
type app struct {
	out, err    io.Writer
	store       string
	json, quiet bool

	st *store.Store
}

// open returns the store, made on first use.
func (a *app) open(ctx context.Context) (*store.Store, error) {
	if a.st == nil {
		st, err := store.Open(ctx, a.store)
		if err != nil {
			return nil, err
		}
		a.st = st
	}
	return a.st, nil
}

// existing returns the store of a verb that makes none.
func (a *app) existing(ctx context.Context) (*store.Store, error) {
	if !store.Exists(a.store) {
		return nil, fault.New(fault.NotFound, a.store, "there is no store").WithHint("`muster train` or `muster demo` makes one; --store names another folder")
	}
	return a.open(ctx)
}

func (a *app) close() {
	if a.st != nil {
		a.st.Close()
		a.st = nil
	}
}

// job is a run under way.
type job struct {
	st  *store.Store
	run record.Run
}

// begin records that a verb starts. settings is everything it was told, explicit what was given by hand.
func (a *app) begin(ctx context.Context, verb string, settings any, explicit []string, seed uint64) (*job, error) {
	st, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	m, err := asMap(settings)
	if err != nil {
		return nil, err
	}
	var id [8]byte
	rand.Read(id[:])
	j := &job{st: st, run: record.Run{Version: record.Version, ID: time.Now().UTC().Format("20060102T150405") + "-" + verb + "-" + hex.EncodeToString(id[:4]),
		Verb: verb, Settings: m, Explicit: explicit, Seed: seed, Code: code(), Host: host(), Started: time.Now().UTC(), Status: record.Running,
		Inputs: []record.Subject{}, Outputs: []record.Subject{}}}
	return j, st.StartRun(ctx, &j.run)
}

// end records how the run ended and returns err. A failed record is reported beside it, never instead of it.
func (j *job) end(ctx context.Context, err error) error {
	j.run.Duration = time.Since(j.run.Started)
	j.run.Status = record.Succeeded
	if err != nil {
		j.run.Status, j.run.Error = record.Failed, err.Error()
	}
	if ctx.Err() != nil { // an interrupted run is recorded all the same
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
	}
	if e := j.st.FinishRun(ctx, &j.run); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// asMap turns settings into the generic form that records hold.
func asMap(v any) (map[string]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	return m, json.Unmarshal(b, &m)
}

// settingsOf reads the settings of a record back into the form that asMap was given.
func settingsOf(place string, settings map[string]any, into any) error {
	b, err := json.Marshal(settings)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fault.New(fault.Malformed, place, "its settings: %w", err)
	}
	return nil
}

// explicit lists the flags that were given.
func explicit(cmd *cobra.Command) []string {
	out := []string{}
	cmd.Flags().Visit(func(f *pflag.Flag) { out = append(out, f.Name) })
	return out
}

// dataFlags say which data set a verb reads and how.
type dataFlags struct {
	Source string `json:"data"`
	Target string `json:"target,omitempty"`
	Image  string `json:"image,omitempty"`
	Range  string `json:"range,omitempty"`
}

func (d *dataFlags) register(f *pflag.FlagSet) {
	f.StringVar(&d.Target, "target", "", "label column (default: the last one)")
	f.StringVar(&d.Image, "image", "", "CxHxW if the columns of a CSV file are pixels")
	f.StringVar(&d.Range, "range", "", "lo,hi: the declared range of the pixels")
}

func (d *dataFlags) open() (*data.Set, error) {
	cfg := data.OpenConfig{Target: d.Target, Image: d.Image}
	if d.Range != "" {
		lo, hi, ok := strings.Cut(d.Range, ",")
		l, err1 := strconv.ParseFloat(lo, 64)
		h, err2 := strconv.ParseFloat(hi, 64)
		if !ok || err1 != nil || err2 != nil || !(l < h) {
			return nil, usageError{fmt.Errorf("--range %q is not lo,hi", d.Range)}
		}
		cfg.Range = &[2]float64{l, h}
	}
	return data.Open(d.Source, cfg)
}

// split opens a data set and gives its rows their roles; nil shares are the default split.
func (a *app) split(ctx context.Context, d dataFlags, shares map[string]float64, seed uint64) (*data.Set, *data.Ledger, error) {
	set, err := d.open()
	if err != nil {
		return nil, nil, err
	}
	byRole := map[data.Role]float64{}
	for k, v := range shares {
		byRole[data.Role(k)] = v
	}
	cfg, err := data.SplitShares(byRole, seed)
	if err != nil {
		return nil, nil, err
	}
	l, err := a.ledger(ctx, set, cfg)
	return set, l, err
}

// ledger assigns a role to every row of set: the same rows and settings always get
// the same roles, and near duplicates the same one. The uses that earlier runs made
// of the split are taken over from the store.
func (a *app) ledger(ctx context.Context, set *data.Set, cfg data.SplitConfig) (*data.Ledger, error) {
	l, err := data.Assign(set, cfg)
	if err != nil {
		return nil, err
	}
	if err := l.Apply(set); err != nil {
		return nil, err
	}
	st, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := st.Subjects(ctx, "ledger", 0)
	if err != nil {
		return nil, err
	}
	for _, r := range rows { // newest first
		if r.Name != string(l.Digest()) {
			continue
		}
		b, err := st.Get(ctx, r.Digest)
		if err != nil {
			return nil, err
		}
		return data.ParseLedger("ledger "+r.Digest.Short(), b)
	}
	return l, nil
}

// keep stores the ledger with its uses, so that looks at the test role are counted over runs.
func (a *app) keep(ctx context.Context, l *data.Ledger) error {
	b, err := l.Encode()
	if err != nil {
		return err
	}
	_, err = a.st.PutBytes(ctx, "ledger", string(l.Digest()), b)
	return err
}

// modelFile is a model read from disk.
type modelFile struct {
	path  string
	graph *graph.Graph
	bytes []byte
}

// loadModel reads and checks an ONNX file.
func loadModel(path string) (*modelFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, path, "%w", err).WithHint("`muster train` writes a model file")
	}
	g, err := graph.Decode(b)
	if err != nil {
		return nil, fault.At(path, err)
	}
	return &modelFile{path, g, b}, nil
}

// name is the file's name without folder and ending.
func (m *modelFile) name() string {
	return strings.TrimSuffix(filepath.Base(m.path), filepath.Ext(m.path))
}

// find returns the measurement with this name and slice, nil if there is none.
func find(ms []record.Measurement, name, slice string) *record.Measurement {
	for i := range ms {
		if ms[i].Name == name && ms[i].Slice == slice {
			return &ms[i]
		}
	}
	return nil
}

// value prints a measurement as "0.972 [0.949, 0.985] n=360".
func value(m *record.Measurement) string {
	switch {
	case m == nil:
		return "not measured"
	case m.Value == nil:
		return "absent: " + m.Absent
	}
	s := number(*m.Value)
	if m.Unit != "" {
		s += " " + m.Unit
	}
	if m.Interval != nil {
		s += fmt.Sprintf(" [%s, %s]", number(m.Interval.Low), number(m.Interval.High))
	}
	if m.N > 1 {
		s += fmt.Sprintf(" n=%d", m.N)
	}
	return s
}

// number prints four significant digits, and whole numbers as they are.
func number(v float64) string {
	if v == float64(int64(v)) && v < 1e15 && v > -1e15 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// evalRuns selects the evaluations that ended well.
var evalRuns = store.RunFilter{Verb: "eval", Status: record.Succeeded}
