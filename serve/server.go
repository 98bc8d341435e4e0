// Package serve answers the Open Inference Protocol v2 over HTTP for released
// models: a release is loaded only after its signature and every digest were
// checked. It batches, routes shadow and canary traffic, and reports what it sees.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"time"

	"muster/fault"
)

// Config are the settings of a server; zero values take the defaults in brackets.
type Config struct {
	Version   string        // of Muster, for the metadata
	MaxBody   int64         // bytes of one request [16 MiB]
	Timeout   time.Duration // of one inference request [30s]
	Keys      *Keys         // who may call; nil: everybody (only sensible on loopback)
	Log       *slog.Logger  // [slog.Default()]
	MaxActive int           // requests in work at once; more are refused [256]
}

// Server is the HTTP front of a set of deployments.
type Server struct {
	cfg     Config
	mu      sync.RWMutex
	deploy  map[string]*Deployment
	metrics *metrics
	active  chan struct{}
	handler http.Handler
	started time.Time
}

// NewServer returns a server without deployments.
func NewServer(cfg Config) *Server {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 16 << 20
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.MaxActive == 0 {
		cfg.MaxActive = 256
	}
	s := &Server{cfg: cfg, deploy: map[string]*Deployment{}, active: make(chan struct{}, cfg.MaxActive), started: time.Now()}
	s.metrics = newMetrics(s)
	s.handler = s.routes()
	return s
}

// Add makes a deployment reachable under its name.
func (s *Server) Add(d *Deployment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.metrics = s.metrics
	s.deploy[d.Name] = d
}

// Deployments returns all deployments, sorted by name.
func (s *Server) Deployments() []*Deployment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var ds []*Deployment
	for _, d := range s.deploy {
		ds = append(ds, d)
	}
	sort.Slice(ds, func(i, j int) bool { return ds[i].Name < ds[j].Name })
	return ds
}

// Handler returns the HTTP handler.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on l until ctx ends, then finishes what is in work (at most 10 s) and closes the deployments.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	hs := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn)}
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(l) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = hs.Shutdown(end)
	}
	for _, d := range s.Deployments() {
		if d.End != nil {
			d.End()
		}
		d.Close()
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// routes lists every address. What needs a key is wrapped in s.keyed.
func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	open := func(pattern string, h http.HandlerFunc) { m.Handle(pattern, s.guard(h)) }
	keyed := func(pattern string, h http.HandlerFunc) { m.Handle(pattern, s.guard(s.keyed(h))) }
	open("GET /v2/health/live", s.live)
	open("GET /v2/health/ready", s.ready)
	keyed("GET /v2", s.serverMetadata)
	keyed("GET /v2/{$}", s.serverMetadata)
	for _, base := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		keyed("GET "+base, s.modelMetadata)
		keyed("GET "+base+"/ready", s.modelReady)
		keyed("GET "+base+"/config", s.modelConfig)
		keyed("GET "+base+"/stats", s.modelStats)
		keyed("POST "+base+"/infer", s.infer)
	}
	keyed("POST /v2/models/{model}/labels", s.labels)
	keyed("GET /v2/models/{model}/monitor", s.monitor)
	keyed("POST /v2/repository/index", s.index)
	keyed("GET /metrics", s.metrics.handler().ServeHTTP)
	keyed("GET /{$}", s.status)
	m.Handle("/", s.guard(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, fault.New(fault.NotFound, "path", "%s %s is not served here", r.Method, r.URL.Path).
			WithHint("the Open Inference Protocol starts at /v2; the status page is /"))
	}))
	return m
}

// guard adds the security headers, bounds the requests in work and turns a panic into an answer.
func (s *Server) guard(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hd := w.Header()
		hd.Set("X-Content-Type-Options", "nosniff")
		hd.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		hd.Set("Referrer-Policy", "no-referrer")
		hd.Set("Cache-Control", "no-store")
		select {
		case s.active <- struct{}{}:
			defer func() { <-s.active }()
		default:
			w.Header().Set("Retry-After", "1")
			s.fail(w, r, fault.New(fault.Exhausted, "server", "%d requests are in work", s.cfg.MaxActive).WithHint("try again in a second"))
			return
		}
		defer func() {
			if p := recover(); p != nil {
				buf := make([]byte, 8<<10)
				s.cfg.Log.Error("panic", "path", r.URL.Path, "panic", p, "stack", string(buf[:runtime.Stack(buf, false)]))
				s.fail(w, r, fault.New(fault.Internal, "server", "an internal error; it is in the log"))
			}
		}()
		h(w, r)
	})
}

// statusOf maps error classes to HTTP status codes.
var statusOf = map[fault.Class]int{
	fault.Malformed: 400, fault.Mismatch: 400, fault.Numeric: 400, fault.Unsupported: 400, fault.Denied: 403,
	fault.NotFound: 404, fault.Exhausted: 503, fault.Internal: 500,
}

// fail answers with {"error": ...} as the protocol says, plus class and hint.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	class := fault.ClassOf(err)
	code := statusOf[class]
	var fe *fault.Error
	if errors.As(err, &fe) && class == fault.Exhausted && fe.Place == "request" {
		code = http.StatusRequestEntityTooLarge
	}
	if class == fault.Denied && r.Header.Get("Authorization") == "" && r.Header.Get("X-API-Key") == "" {
		code = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="muster", charset="UTF-8"`)
	}
	s.metrics.failures.WithLabelValues(string(class)).Inc()
	if class == fault.Internal {
		s.cfg.Log.Error("request failed", "path", r.URL.Path, "err", err)
	}
	writeJSON(w, code, map[string]string{"error": err.Error(), "class": string(class), "hint": fault.HintOf(err)})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		code, b = 500, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(code)
	w.Write(b)
}

func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, 200, map[string]bool{"live": true})
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	ready := true
	for _, d := range s.Deployments() {
		ready = ready && d.Ready()
	}
	code := 200
	if !ready {
		code = 503
	}
	writeJSON(w, code, map[string]bool{"ready": ready})
}

func (s *Server) serverMetadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, 200, map[string]any{"name": "muster", "version": s.cfg.Version,
		"extensions": []string{"binary_tensor_data", "model_repository", "model_configuration", "statistics", "muster_labels", "muster_monitor"}})
}

// find returns the deployment and the model that a path names.
func (s *Server) find(r *http.Request) (*Deployment, *Model, error) {
	name := r.PathValue("model")
	s.mu.RLock()
	d := s.deploy[name]
	s.mu.RUnlock()
	if d == nil {
		return nil, nil, fault.New(fault.NotFound, "model "+strconv.Quote(name), "no such model is deployed").WithHint("POST /v2/repository/index lists the models")
	}
	m := d.Production()
	if m == nil {
		return nil, nil, fault.New(fault.NotFound, "model "+strconv.Quote(name), "it has no release in production").WithHint("`muster release` puts one there")
	}
	if v := r.PathValue("version"); v != "" && v != m.Version {
		return nil, nil, fault.New(fault.NotFound, fmt.Sprintf("model %q version %q", name, v), "the version in production is %s", m.Version)
	}
	return d, m, nil
}

// withModel wraps a handler that needs a model.
func (s *Server) withModel(w http.ResponseWriter, r *http.Request, f func(d *Deployment, m *Model) error) {
	d, m, err := s.find(r)
	if err == nil {
		err = f(d, m)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

func (s *Server) modelMetadata(w http.ResponseWriter, r *http.Request) {
	s.withModel(w, r, func(_ *Deployment, m *Model) error {
		writeJSON(w, 200, m.metadata())
		return nil
	})
}

func (s *Server) modelReady(w http.ResponseWriter, r *http.Request) {
	s.withModel(w, r, func(_ *Deployment, m *Model) error {
		writeJSON(w, 200, map[string]any{"name": m.Name, "ready": true})
		return nil
	})
}

// modelConfig answers Triton's model configuration extension with the fields clients read.
func (s *Server) modelConfig(w http.ResponseWriter, r *http.Request) {
	s.withModel(w, r, func(_ *Deployment, m *Model) error {
		writeJSON(w, 200, m.config())
		return nil
	})
}

func (s *Server) modelStats(w http.ResponseWriter, r *http.Request) {
	s.withModel(w, r, func(d *Deployment, m *Model) error {
		writeJSON(w, 200, d.stats(m))
		return nil
	})
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	list := []map[string]string{}
	for _, d := range s.Deployments() {
		e := map[string]string{"name": d.Name, "state": "UNAVAILABLE", "reason": "no release in production"}
		if m := d.Production(); m != nil {
			e["version"], e["state"], e["reason"] = m.Version, "READY", ""
		}
		list = append(list, e)
	}
	writeJSON(w, 200, list)
}

func (s *Server) infer(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	s.withModel(w, r, func(d *Deployment, _ *Model) error {
		body, err := readBody(w, r, s.cfg.MaxBody)
		if err != nil {
			return err
		}
		q, err := DecodeInfer(body, r.Header.Get(headerLength))
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
		defer cancel()
		a, err := d.infer(ctx, q)
		if err != nil {
			return err
		}
		if err := writeInfer(w, q, a.model.Name, a.model.Version, a.params, a.outputs); err != nil {
			return err
		}
		s.metrics.request(a.model, time.Since(start))
		return nil
	})
}
