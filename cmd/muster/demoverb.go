package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"muster/check"
	"muster/data"
	"muster/fault"
	"muster/internal/atomicfile"
	"muster/monitor"
	"muster/recipes"
	"muster/record"
	"muster/release/store"
	"muster/rng"
	"muster/serve"
	"muster/stat"
	"muster/tensor"
	"muster/train"
)

func demoVerb(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "demo", Short: "The whole loop on real data, in under a minute", Args: cobra.NoArgs,
		Long: `Demo plays the whole story on embedded data: audit, train, evaluate, shrink to int8, gate,
release and serve; then a bad candidate that the gate refuses, that is forced into shadow
all the same, and that live traffic catches; then corrupted traffic that raises an alarm;
last, the release is derived again. It needs no network and no configuration.`,
		Example: `  muster demo
  muster demo --dir /tmp/demo --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{app: a, dir: dir, start: time.Now()}
			res, err := d.run(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(res, func(p *printer) { d.end(p) })
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "muster-demo", "folder for the files of the demo; an earlier demo there is replaced")
	return cmd
}

// demoResult is the JSON of the demo.
type demoResult struct {
	Seconds  float64 `json:"seconds"`
	Accuracy struct {
		Value float64 `json:"value"`
		Low   float64 `json:"low"`
		High  float64 `json:"high"`
		N     int     `json:"n"`
	} `json:"accuracy"`
	ECE  float64 `json:"ece"`
	Int8 struct {
		Flips        int      `json:"flips"`
		IntegerNodes int      `json:"integer_nodes"`
		AccuracyDiff interval `json:"accuracy_diff"`
		LatencyRatio float64  `json:"latency_ratio"`
		SizeRatio    float64  `json:"size_ratio"`
	} `json:"int8"`
	Gate struct {
		Verdict record.Outcome `json:"verdict"`
	} `json:"gate"`
	BadCandidate struct {
		Verdict  record.Outcome `json:"verdict"`
		Accuracy float64        `json:"accuracy"`
		Reasons  []string       `json:"reasons"`
	} `json:"bad_candidate"`
	Canary struct {
		RolledBack     bool   `json:"rolled_back"`
		Samples        int    `json:"samples"`
		Requests       int    `json:"requests"`
		FailedRequests int    `json:"failed_requests"`
		Reason         string `json:"reason"`
	} `json:"canary"`
	Drift struct {
		Alarm             bool     `json:"alarm"`
		CleanWindows      int      `json:"clean_windows"`
		CleanAlarms       int      `json:"clean_alarms"`
		EstimatedAccuracy *float64 `json:"estimated_accuracy"`
		EstimateAbsent    string   `json:"estimate_absent,omitempty"`
		TrueAccuracy      float64  `json:"true_accuracy"`
		CleanAccuracy     float64  `json:"clean_accuracy"`
		Reason            string   `json:"reason"`
	} `json:"drift"`
	Verify struct {
		Signature    bool `json:"signature"`
		BitIdentical bool `json:"bit_identical"`
		Recomputed   int  `json:"recomputed"`
	} `json:"verify"`
	Release struct {
		ModelDigest record.Digest `json:"model_digest"`
		FloatDigest record.Digest `json:"float_digest"`
		Digest      record.Digest `json:"digest"`
	} `json:"release"`
	Files map[string]string `json:"files"`
}

type interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// demo is one telling of the story.
type demo struct {
	*app
	dir   string
	start time.Time
	step  int
	res   demoResult
	spec  train.Spec
	eval  evalArgs

	floatModel, int8Model, badModel *modelFile
}

// marker tells a folder that a demo made from one that it must not touch.
const marker = "made-by-muster-demo"

func (d *demo) say(format string, args ...any) {
	if d.json || d.quiet {
		return
	}
	d.step++
	fmt.Fprintf(d.out, "%2d. %s\n", d.step, fmt.Sprintf(format, args...))
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// prepare makes an empty folder; it replaces an earlier demo and nothing else.
func (d *demo) prepare() error {
	if list, err := os.ReadDir(d.dir); err == nil && len(list) > 0 {
		if _, err := os.Stat(d.path(marker)); err != nil {
			return fault.New(fault.Denied, d.dir, "the folder is there and no demo made it").WithHint("name another one with --dir")
		}
		if err := os.RemoveAll(d.dir); err != nil {
			return fault.New(fault.Denied, d.dir, "%w", err)
		}
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return fault.New(fault.Exhausted, d.dir, "%w", err)
	}
	d.app.store = d.path(".muster")
	return atomicfile.Write(d.path(marker), []byte("muster demo replaces this folder\n"), 0o644)
}

func (d *demo) run(ctx context.Context) (*demoResult, error) {
	if err := d.prepare(); err != nil {
		return nil, err
	}
	b, err := recipes.Files.ReadFile("digits-vit.yaml")
	if err != nil {
		return nil, err
	}
	if d.spec, err = train.Parse("digits-vit.yaml", b); err != nil {
		return nil, err
	}
	d.eval = evalArgs{dataFlags: dataFlags{Source: d.spec.Data.Source}, Outside: "builtin:fashion", Split: d.spec.Data.Split, Seed: d.spec.Data.SplitSeed,
		Check: check.Config{Seed: 1}}
	for _, act := range []func(context.Context) error{d.audit, d.trainGood, d.evaluate, d.shrink, d.gate, d.publish, d.bad, d.live, d.verify} {
		if err := act(ctx); err != nil {
			return nil, err
		}
	}
	d.res.Seconds = time.Since(d.start).Seconds()
	d.res.Files = map[string]string{"card": d.path("card.html"), "report": d.path("report.json"), "store": d.path(".muster"), "model": d.path("digits.int8.onnx")}
	rep, err := json.MarshalIndent(&d.res, "", "  ")
	if err != nil {
		return nil, err
	}
	return &d.res, atomicfile.Write(d.path("report.json"), rep, 0o644)
}

func (d *demo) audit(ctx context.Context) error {
	r, err := d.app.audit(ctx, auditArgs{dataFlags: d.eval.dataFlags, Split: d.eval.Split, Seed: d.eval.Seed}, nil)
	if err != nil {
		return err
	}
	d.say("Audited %d images of handwritten digits: %d errors, %d warnings. Every image has one role: %d to train, %d to calibrate, %d to test.",
		r.Report.Rows, r.Report.Count("error"), r.Report.Count("warning"), r.Roles["train"], r.Roles["calibrate"], r.Roles["test"])
	return nil
}

func (d *demo) trainGood(ctx context.Context) (err error) {
	t, err := d.app.train(ctx, trainArgs{Spec: d.spec, Output: d.path("digits.onnx"), Dir: d.path("run")}, nil)
	if err != nil {
		return err
	}
	d.res.Release.FloatDigest = t.Model.Digest
	d.say("Trained a %s: %d steps in %.1f s.", d.spec.Model, t.Steps, t.Seconds)
	d.floatModel, err = loadModel(t.File)
	return err
}

func (d *demo) evaluate(ctx context.Context) error {
	e, err := d.app.eval(ctx, d.floatModel, d.eval, nil)
	if err != nil {
		return err
	}
	acc, ece := find(e.Measurements, "accuracy", ""), find(e.Measurements, "calibration/ece", "")
	d.res.Accuracy.Value, d.res.Accuracy.Low, d.res.Accuracy.High, d.res.Accuracy.N = *acc.Value, acc.Interval.Low, acc.Interval.High, acc.N
	if s := find(e.Measurements, "calibration/ece", "temperature-scaled"); s != nil {
		ece = s
	}
	d.res.ECE = *ece.Value
	d.say("Measured it on the test images: %.1f%% right [%.1f, %.1f], %.1f%% on corrupted ones, %.0f%% under attack; calibration error %.3f; tells clothes from digits with AUROC %.2f.",
		100**acc.Value, 100*acc.Interval.Low, 100*acc.Interval.High, 100*valueOf(e.Measurements, "robust/corruption-mean", ""),
		100*valueOf(e.Measurements, "robust/pgd-linf", "eps=0.05"), *ece.Value, valueOf(e.Measurements, "ood/auroc", ""))
	return nil
}

// valueOf is the value of a measurement, 0 if it is absent.
func valueOf(ms []record.Measurement, name, slice string) float64 {
	if m := find(ms, name, slice); m != nil && m.Value != nil {
		return *m.Value
	}
	return 0
}

func (d *demo) shrink(ctx context.Context) (err error) {
	c := compressArgs{evalArgs: d.eval, Output: d.path("digits.int8.onnx"), Rows: 256}
	c.Against = d.path("digits.onnx")
	r, err := d.app.compress(ctx, d.floatModel, c, nil)
	if err != nil {
		return err
	}
	ms := r.Eval.Measurements
	diff, flips := find(ms, "compare/accuracy_diff", ""), find(ms, "compare/flips", "")
	i := &d.res.Int8
	i.Flips, i.IntegerNodes = int(*flips.Value*float64(flips.N)+0.5), int(valueOf(ms, "quant/integer_nodes", ""))
	i.AccuracyDiff = interval{*diff.Value, diff.Interval.Low, diff.Interval.High}
	i.LatencyRatio, i.SizeRatio = valueOf(ms, "compare/latency_ratio", ""), valueOf(ms, "compare/size_ratio", "")
	d.say("Shrank it to int8: %d nodes run on integer kernels, %.0f%% of the size, %.2fx the time of one image; %d of %d answers changed, accuracy %+.2f points [%+.2f, %+.2f].",
		i.IntegerNodes, 100*i.SizeRatio, i.LatencyRatio, i.Flips, flips.N, 100**diff.Value, 100*diff.Interval.Low, 100*diff.Interval.High)
	d.int8Model, err = loadModel(c.Output)
	return err
}

func (d *demo) gate(ctx context.Context) error {
	g, err := d.app.gate(ctx, d.int8Model, gateArgs{Against: d.path("digits.onnx")}, nil)
	if err != nil {
		return err
	}
	d.res.Gate.Verdict = g.Verdict.Outcome
	d.say("Gated the int8 model against the float one by %d written rules: %s.", len(g.Verdict.Rules), g.Verdict.Outcome)
	if g.Verdict.Outcome != record.Pass && !d.json {
		g.text(&printer{d.out})
	}
	return nil
}

func (d *demo) publish(ctx context.Context) error {
	r, err := d.app.release(ctx, d.int8Model, releaseArgs{gateArgs: gateArgs{Against: d.path("digits.onnx")}, Name: "digits", Stage: "production",
		By: "demo", Reason: "the gate passed", Use: "A demonstration on 8x8 images of handwritten digits; not for use."}, nil)
	if err != nil {
		return err
	}
	d.res.Release.ModelDigest, d.res.Release.Digest = r.Release.Model, r.Release.Digest
	if err := atomicfile.Write(d.path("card.md"), r.card, 0o644); err != nil {
		return err
	}
	d.say("Released it: model, data, %s and verdict under one signature (%s).", "measurements", r.Release.Digest.Short())
	return atomicfile.Write(d.path("card.html"), r.page, 0o644)
}

// bad trains a candidate on wrong labels and shows it to the gate.
func (d *demo) bad(ctx context.Context) error {
	spec := d.spec
	spec.Name, spec.Seed, spec.Data.FlipLabels = "digits-bad", 2, 0.25
	spec.Epochs /= 2
	t, err := d.app.train(ctx, trainArgs{Spec: spec, Output: d.path("digits-bad.onnx"), Dir: d.path("run-bad")}, nil)
	if err != nil {
		return err
	}
	if d.badModel, err = loadModel(t.File); err != nil {
		return err
	}
	e := d.eval
	e.Against = d.path("digits.int8.onnx")
	ev, err := d.app.eval(ctx, d.badModel, e, nil)
	if err != nil {
		return err
	}
	g, err := d.app.gate(ctx, d.badModel, gateArgs{Against: e.Against}, nil)
	if err != nil {
		return err
	}
	b := &d.res.BadCandidate
	b.Verdict, b.Accuracy = g.Verdict.Outcome, valueOf(ev.Measurements, "accuracy", "")
	why := ""
	for _, r := range g.Verdict.Rules {
		if r.Outcome != record.Pass {
			b.Reasons = append(b.Reasons, r.Name+": "+r.Reason)
			if r.Outcome == record.Fail && why == "" {
				why = r.Reason
			}
		}
	}
	if why == "" && len(b.Reasons) > 0 {
		why = b.Reasons[0]
	}
	d.say("Trained a bad candidate, a quarter of its labels wrong (%.1f%% right). The gate says %s: %s.", 100*b.Accuracy, b.Verdict, why)
	return nil
}

// live serves the release over HTTP and plays traffic: a trial of the bad candidate, then corrupted images.
func (d *demo) live(ctx context.Context) error {
	tmp, err := os.MkdirTemp("", "muster-demo-key")
	if err != nil {
		return fault.New(fault.Exhausted, "demo", "%w", err)
	}
	defer os.RemoveAll(tmp)
	keys, key, err := serve.OpenKeys(filepath.Join(tmp, "key.json")) // the store's own key is made by its first `muster serve`
	if err != nil {
		return err
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	srv := serve.NewServer(serve.Config{Version: code(), Keys: keys, Log: quiet})
	roll := serve.NewRollout("digits", d.st, bundles(d.st, serve.BatchConfig{Wait: -1}), serve.RolloutConfig{Log: quiet, Poll: 20 * time.Millisecond})
	if err := roll.Sync(ctx); err != nil {
		return err
	}
	srv.Add(roll.Deployment)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fault.New(fault.Exhausted, "demo", "%w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	go roll.Run(ctx)
	c := &client{url: "http://" + l.Addr().String() + "/v2/models/digits", key: key}
	err = d.traffic(ctx, c, roll)
	stop()
	if e := <-ended; err == nil {
		err = e
	}
	return err
}

func (d *demo) traffic(ctx context.Context, c *client, roll *serve.Rollout) error {
	set, ledger, err := d.app.split(ctx, d.eval.dataFlags, d.eval.Split, d.eval.Seed)
	if err != nil {
		return err
	}
	if err := ledger.Use(data.Test, data.Simulate); err != nil {
		return err
	}
	if err := d.app.keep(ctx, ledger); err != nil {
		return err
	}
	rows := set.Rows(data.Test)
	if err := d.trial(ctx, c, roll, set, rows); err != nil {
		return err
	}
	if err := d.clean(c, roll, set, rows); err != nil {
		return err
	}
	return d.corrupt(c, roll, set, rows)
}

// clean sends the images as they are until two windows were judged.
func (d *demo) clean(c *client, roll *serve.Rollout, set *data.Set, rows []int) error {
	labels, right, n := set.Labels(), 0, 0
	start := roll.State().Windows
	for i := 0; i < 3*len(rows) && roll.State().Windows < start+2; i++ {
		r := rows[i%len(rows)]
		if c.infer(fmt.Sprintf("clean-%d", i), set.X([]int{r})) == int(labels[r]) {
			right++
		}
		n++
		roll.Flush()
	}
	s := roll.State()
	d.res.Drift.CleanWindows, d.res.Drift.CleanAlarms = s.Windows, s.Alarms
	d.res.Drift.CleanAccuracy = float64(right) / float64(max(n, 1))
	return nil
}

// trial forces the bad candidate into shadow and sends labelled traffic until it is caught.
func (d *demo) trial(ctx context.Context, c *client, roll *serve.Rollout, set *data.Set, rows []int) error {
	_, err := d.app.release(ctx, d.badModel, releaseArgs{gateArgs: gateArgs{Against: d.path("digits.int8.onnx")}, Name: "digits", Stage: "shadow",
		Override: true, By: "demo", Reason: "a drill: see what live traffic says"}, nil)
	if err != nil {
		return err
	}
	for i := 0; roll.Current().Stage != serve.Shadow; i++ {
		if i == 500 {
			return fault.New(fault.Exhausted, "demo", "the server did not take up the candidate")
		}
		time.Sleep(10 * time.Millisecond)
	}
	key := rng.New(7).Named("demo/traffic")
	labels := set.Labels()
	caught := func() bool { return roll.Current().Stage == serve.NoCandidate }
	for pass := 0; pass < 8 && !caught(); pass++ {
		order := key.Split(uint64(pass)).Stream().Perm(len(rows))
		for lo := 0; lo < len(order) && !caught(); lo += 20 {
			var told []serve.Label
			for _, k := range order[lo:min(lo+20, len(order))] {
				id := fmt.Sprintf("trial-%d-%d", pass, k)
				c.infer(id, set.X(rows[k:k+1]))
				told = append(told, serve.Label{ID: id, Label: int(labels[rows[k]])})
			}
			roll.Flush()
			c.label(told)
			if now := roll.State().Decision; now != nil {
				d.res.Canary.Samples = now.Pairs
			}
		}
	}
	evs, err := d.st.Events(ctx, store.EventFilter{Subject: "digits", Kind: "canary/rolled-back"})
	if err != nil {
		return err
	}
	for _, e := range evs { // at most one: the decision, with the number of pairs it took
		var b struct {
			Decision monitor.Decision `json:"decision"`
		}
		if err := json.Unmarshal(e.Body, &b); err != nil {
			return err
		}
		d.res.Canary.Samples = b.Decision.Pairs
	}
	s := roll.State()
	r := &d.res.Canary
	r.RolledBack, r.Requests, r.FailedRequests, r.Reason = caught(), c.sent, c.failed, s.Acted
	if r.RolledBack {
		d.say("Forced it into shadow all the same. Live traffic caught it: rolled back by itself after %d labelled pairs, %d of %d requests failed.", r.Samples, r.FailedRequests, r.Requests)
	} else {
		d.say("Forced it into shadow all the same. After %d labelled pairs there is not enough evidence against it: hold.", r.Samples)
	}
	return nil
}

// corrupt sends one window of noisy images, and compares what the monitor says with the truth.
func (d *demo) corrupt(c *client, roll *serve.Rollout, set *data.Set, rows []int) error {
	img := set.Image()
	lo, hi := img.Range()
	name := "impulse-noise"
	if !slices.Contains(data.Corruptions(), name) {
		name = data.Corruptions()[0]
	}
	x, err := data.Corrupt(set.X(rows), name, 3, float32(lo), float32(hi), rng.New(11).Named("demo/corrupt"))
	if err != nil {
		return err
	}
	labels, start := set.Labels(), roll.State().Windows
	right, n := 0, 0
	for i := 0; i < len(rows) && roll.State().Windows == start; i++ {
		n++
		if c.infer(fmt.Sprintf("noisy-%d", i), x.Rows(i, i+1)) == int(labels[rows[i]]) {
			right++
		}
		roll.Flush()
	}
	r := &d.res.Drift
	r.TrueAccuracy = float64(right) / float64(max(n, 1))
	d.res.Canary.FailedRequests, d.res.Canary.Requests = c.failed, c.sent
	last := roll.State().Last
	if last == nil {
		return fault.New(fault.Internal, "demo", "no window was judged: %+v", roll.State())
	}
	for _, al := range last.Alarms {
		r.Alarm, r.Reason = true, al.Reason
	}
	est := "no estimate"
	if m := find(last.Measurements, "estimate/accuracy", ""); m != nil {
		r.EstimatedAccuracy, r.EstimateAbsent = m.Value, m.Absent
		if m.Value != nil {
			est = fmt.Sprintf("%.1f%%", 100**m.Value)
		} else {
			est = "refused (" + m.Absent + ")"
		}
	}
	alarm := "no alarm"
	if r.Alarm {
		alarm = "a drift alarm"
	}
	d.say("Watched the traffic: %d clean windows, %d alarms. Then the images got noisy: %s. Accuracy estimated without labels %s, in truth %.1f%% (clean %.1f%%).",
		r.CleanWindows, r.CleanAlarms, alarm, est, 100*r.TrueAccuracy, 100*r.CleanAccuracy)
	return nil
}

func (d *demo) verify(ctx context.Context) error {
	v, err := d.app.verify(ctx, "digits@1")
	if err != nil {
		return err
	}
	d.res.Verify.Signature, d.res.Verify.BitIdentical, d.res.Verify.Recomputed = v.Signature, v.BitEqual, v.Recomputed
	word := "all equal, bit for bit"
	if !v.BitEqual {
		word = fmt.Sprintf("different: %v", v.Different)
	}
	d.say("Verified the release: signature good, %d measurements and the verdict computed again: %s.", v.Recomputed, word)
	return nil
}

func (d *demo) end(p *printer) {
	p.line("")
	p.line("That took %.0f seconds. Look around:", d.res.Seconds)
	p.line("  %-28s the model card, with plots (open it in a browser)", d.path("card.html"))
	p.line("  %-28s everything above as JSON", d.path("report.json"))
	p.line("  %-28s the store: every run, blob, release and decision", d.path(".muster"))
	p.line("  cd %s", d.dir)
	p.line("  muster history digits         what was live when, why and by whom")
	p.line("  muster monitor digits         what the watch saw")
	p.line("  muster store check            nothing was lost or changed")
	p.line("  muster serve                  serve it; the API key is printed once")
}

// client is a plain HTTP client of the Open Inference Protocol.
type client struct {
	url, key     string
	sent, failed int
}

// infer sends one row and returns the class, -1 if the request failed.
func (c *client) infer(id string, x *tensor.Tensor) int {
	c.sent++
	var out struct {
		Outputs []struct {
			Name string    `json:"name"`
			Data []float64 `json:"data"`
		} `json:"outputs"`
	}
	err := c.post("/infer", map[string]any{"id": id,
		"inputs":  []map[string]any{{"name": "image", "datatype": "FP32", "shape": x.Shape, "data": x.Float32s()}},
		"outputs": []map[string]any{{"name": "probabilities"}}}, &out)
	if err != nil || len(out.Outputs) != 1 || len(out.Outputs[0].Data) == 0 {
		c.failed++
		return -1
	}
	return stat.ArgMax(out.Outputs[0].Data)
}

func (c *client) label(labels []serve.Label) {
	var rep serve.LabelReport
	if err := c.post("/labels", map[string]any{"labels": labels}, &rep); err != nil {
		c.failed++
	}
}

func (c *client) post(path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest("POST", c.url+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("%s", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
