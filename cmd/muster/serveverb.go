package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"muster/check"
	"muster/fault"
	"muster/graph"
	"muster/internal/atomicfile"
	"muster/monitor"
	"muster/record"
	"muster/release"
	"muster/release/policy"
	"muster/release/sign"
	"muster/release/store"
	"muster/serve"
)

// serveArgs are the settings of a server.
type serveArgs struct {
	Addr      string
	NoKey     bool
	ReadyFile string
	MaxBody   int64
	Rollout   serve.RolloutConfig
	Mode      string
	Batch     serve.BatchConfig
}

func serveVerb(a *app) *cobra.Command {
	var s serveArgs
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve released models on the Open Inference Protocol v2", Args: cobra.NoArgs,
		Long: `Serve answers the Open Inference Protocol v2 (REST, JSON and binary tensors) for every
name that has a release in production. A release is loaded only after its signature, every
digest and its probe were checked. It follows the pointers of the store while it runs:
` + "`muster release`, `promote` and `rollback`" + ` act on it without a restart.
The first start prints an API key once; requests carry it as Authorization: Bearer KEY.
/metrics is for Prometheus, / is a status page.`,
		Example: `  muster serve
  muster serve --addr 127.0.0.1:9000 --canary-share 0.2`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.Mode != string(monitor.Labelled) && s.Mode != string(monitor.Agreement) {
				return usageError{fmt.Errorf("--canary-mode %q is neither labelled nor agreement", s.Mode)}
			}
			s.Rollout.Mode = monitor.Mode(s.Mode)
			return a.serve(cmd.Context(), s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.Addr, "addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	f.BoolVar(&s.NoKey, "no-key", false, "let everybody on this machine in (loopback addresses only)")
	f.StringVar(&s.ReadyFile, "ready-file", "", "write the address here once requests are answered")
	f.Int64Var(&s.MaxBody, "max-body", 16<<20, "bytes of one request")
	f.Float64Var(&s.Rollout.Share, "canary-share", 0.1, "share of the requests that a canary answers")
	f.StringVar(&s.Mode, "canary-mode", string(monitor.Labelled), "what a trial compares: labelled (late labels) or agreement")
	f.IntVar(&s.Batch.MaxRows, "batch-rows", 64, "rows of one batch")
	f.DurationVar(&s.Batch.Wait, "batch-wait", 500*time.Microsecond, "how long a request waits for company; negative: not")
	return cmd
}

func (a *app) serve(ctx context.Context, s serveArgs) error {
	st, err := a.existing(ctx)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fault.New(fault.Exhausted, s.Addr, "%w", err).WithHint("is another server there? --addr 127.0.0.1:0 takes a free port")
	}
	defer l.Close()
	log := slog.New(slog.NewTextHandler(a.err, nil))
	s.Rollout.Log = log
	cfg := serve.Config{Version: code(), MaxBody: s.MaxBody, Log: log}
	host := l.Addr().(*net.TCPAddr).IP
	if s.NoKey && !host.IsLoopback() {
		return fault.New(fault.Denied, s.Addr, "--no-key is for loopback addresses only").WithHint("leave --no-key out, or listen on 127.0.0.1")
	}
	p := &printer{a.out}
	if !s.NoKey {
		keys, key, err := serve.OpenKeys(filepath.Join(st.KeysDir(), "api-keys.json"))
		if err != nil {
			return err
		}
		cfg.Keys = keys
		if key != "" {
			p.line("key: %s", key)
			p.line("This API key is shown once. Send it as the header Authorization: Bearer KEY.")
		}
	}
	srv := serve.NewServer(cfg)
	f := &fleet{st: st, srv: srv, cfg: s.Rollout, load: bundles(st, s.Batch), known: map[string]bool{}}
	if err := f.scan(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.follow(ctx)
	}()
	p.line("serving %s on http://%s", strings.Join(f.names(), ", "), l.Addr())
	if s.ReadyFile != "" {
		if err := atomicfile.Write(s.ReadyFile, []byte(l.Addr().String()), 0o644); err != nil {
			return err
		}
	}
	err = srv.Serve(ctx, l)
	f.wg.Wait()
	<-done
	return err
}

// fleet keeps one rollout for every name that has pointers.
type fleet struct {
	st    *store.Store
	srv   *serve.Server
	cfg   serve.RolloutConfig
	load  func(context.Context, record.Digest) (*serve.Bundle, error)
	mu    sync.Mutex
	known map[string]bool
	wg    sync.WaitGroup
}

// scan starts a rollout for every new name.
func (f *fleet) scan(ctx context.Context) error {
	ptrs, err := f.st.Pointers(ctx)
	if err != nil {
		return err
	}
	for _, p := range ptrs {
		name, stage, _ := strings.Cut(p.Pointer, "/")
		f.mu.Lock()
		skip := f.known[name] || stage != "production"
		f.mu.Unlock()
		if skip {
			continue
		}
		r := serve.NewRollout(name, f.st, f.load, f.cfg)
		if err := r.Sync(ctx); err != nil {
			r.Close()
			return fault.At("model "+name, err)
		}
		f.mu.Lock()
		f.known[name] = true
		f.mu.Unlock()
		f.srv.Add(r.Deployment)
		f.wg.Add(1)
		go func() {
			defer f.wg.Done()
			r.Run(ctx)
		}()
	}
	return nil
}

// follow looks for new names once a second.
func (f *fleet) follow(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := f.scan(ctx); err != nil && ctx.Err() == nil {
				f.cfg.Log.Error("a new model cannot be served", "err", err)
			}
		}
	}
}

func (f *fleet) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) == 0 {
		return []string{"nothing yet"}
	}
	return sortedKeys(f.known)
}

// bundles returns the function that loads a release for serving: signature, digests, probe.
func bundles(st *store.Store, batch serve.BatchConfig) func(context.Context, record.Digest) (*serve.Bundle, error) {
	return func(ctx context.Context, d record.Digest) (*serve.Bundle, error) {
		ring, err := sign.Trusted(st.KeysDir())
		if err != nil {
			return nil, err
		}
		l, err := release.Load(ctx, st, ring, string(d))
		if err != nil {
			return nil, err
		}
		g, err := graph.Decode(l.Model)
		if err != nil {
			return nil, err
		}
		m, err := check.NewModel(l.Release.Name, g)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		if err := checkProbe(l.Files[release.FileProbe], m); err != nil {
			return nil, err
		}
		b := &serve.Bundle{}
		if b.Policy, err = policy.Parse("policy of "+l.Release.Name, l.Files[release.FilePolicy]); err != nil {
			return nil, err
		}
		if b.Reference, err = monitor.ParseReference(l.Files[release.FileReference]); err != nil {
			return nil, err
		}
		b.Model, err = serve.NewModel(g, serve.ModelConfig{Name: l.Release.Name, Version: fmt.Sprint(l.Release.Number), Release: d,
			Digest: l.Release.Model.Digest, Temperature: l.Release.Temperature, Batch: batch}, nil)
		return b, err
	}
}
