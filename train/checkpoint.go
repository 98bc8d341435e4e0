package train

import (
	"encoding/json"
	"strconv"

	"muster/fault"
	"muster/graph"
	"muster/op"
)

// Keys of a checkpoint's metadata.
const (
	keyStep  = "muster.step"
	keySpec  = "muster.spec"  // digest of the specification
	keyData  = "muster.data"  // digest of data and roles
	keyCurve = "muster.curve" // learning curve so far, JSON
	keySum   = "muster.loss_sum"
)

// checkpoint writes the training-step graph with the current states as its
// initialisers. The file is complete or not there: it is written aside, synced and renamed.
func (l *loop) checkpoint() error {
	if l.cfg.Dir == "" {
		return nil
	}
	c, m := l.graph.Clone()
	for _, s := range l.states {
		m[s.In].Const = l.session.StateOf(s.In.Name)
	}
	curve, err := json.Marshal(l.curve)
	if err != nil {
		return err
	}
	spec, err := l.identity()
	if err != nil {
		return err
	}
	c.Model.Metadata = []graph.Property{
		{Key: keyStep, Value: strconv.Itoa(l.done)},
		{Key: keySpec, Value: spec[0]}, {Key: keyData, Value: spec[1]},
		{Key: keyCurve, Value: string(curve)},
		{Key: keySum, Value: strconv.FormatFloat(l.sum, 'x', -1, 64)},
	}
	if err := op.AddFunctions(c); err != nil { // so that the file runs where Muster's operators are unknown
		return fault.At("checkpoint", err)
	}
	return fault.At("checkpoint", c.Save(l.checkpointPath()))
}

// identity names what the bits of a run depend on: specification, data and roles.
func (l *loop) identity() ([2]string, error) {
	d, err := l.spec.Digest()
	return [2]string{string(d), string(l.set.Digest()) + "+" + string(l.set.RolesDigest())}, err
}

// resume loads the checkpoint in cfg.Dir, if there is one of this specification and data.
func (l *loop) resume() error {
	if l.cfg.Dir == "" || l.cfg.Fresh || !l.exists() {
		return nil
	}
	path := l.checkpointPath()
	g, err := graph.Load(path)
	if err != nil {
		return fault.At("checkpoint", err)
	}
	meta := map[string]string{}
	for _, p := range g.Model.Metadata {
		meta[p.Key] = p.Value
	}
	want, err := l.identity()
	if err != nil {
		return err
	}
	if meta[keySpec] != want[0] || meta[keyData] != want[1] {
		return fault.New(fault.Mismatch, path, "the checkpoint belongs to another specification or other data").
			WithHint("use another --dir, or --fresh to start anew")
	}
	if l.done, err = strconv.Atoi(meta[keyStep]); err != nil || l.done < 0 || l.done > l.steps {
		return fault.New(fault.Malformed, path, "the step %q is not one of this run", meta[keyStep])
	}
	if l.sum, err = strconv.ParseFloat(meta[keySum], 64); err != nil {
		return fault.New(fault.Malformed, path, "%s: %w", keySum, err)
	}
	if err := json.Unmarshal([]byte(meta[keyCurve]), &l.curve); err != nil {
		return fault.New(fault.Malformed, path, "%s: %w", keyCurve, err)
	}
	for _, s := range l.states {
		v := g.Init(s.In.Name)
		if v == nil {
			return fault.New(fault.Malformed, path, "the state %s is missing", s.In.Name)
		}
		if err := l.session.SetState(s.In.Name, v.Const); err != nil {
			return fault.At(path, err)
		}
	}
	l.resumed = l.done
	return nil
}
