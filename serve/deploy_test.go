package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/graph"
	"muster/record"
	"muster/stat"
	"muster/tensor"
)

// scaled is a model whose logits are its input times a factor.
func scaled(t *testing.T, version string, factor float32) *Model {
	t.Helper()
	g := graph.New("scaled")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("B"), graph.D(3))
	b.Output("logits", b.Op("Mul", x, b.Scalar(factor)))
	m, err := NewModel(g, ModelConfig{Name: "m", Version: version, Release: record.DigestBytes([]byte(version))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// server returns a running server with one deployment and a function that posts to it.
func server(t *testing.T, cfg Config) (*Deployment, func(path, body string) (int, string)) {
	t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	s := NewServer(cfg)
	d := NewDeployment("m")
	s.Add(d)
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() { h.Close(); d.Close() })
	return d, func(path, body string) (int, string) {
		method := "POST"
		if body == "" {
			method = "GET"
		}
		req, err := http.NewRequest(method, h.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
}

const request = `{"id":"q%d","inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,%d]}]}`

// TestSwapFailsNoRequest swaps the release in production while requests are in work.
func TestSwapFailsNoRequest(t *testing.T) {
	d, post := server(t, Config{})
	d.Assign(Assignment{Production: scaled(t, "1", 1)})
	var wg sync.WaitGroup
	var failed, answered atomic.Int64
	stop := make(chan struct{})
	for w := 0; w < 4; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if code, _ := post("/v2/models/m/infer", fmt.Sprintf(request, i, i%7)); code != 200 {
					failed.Add(1)
				}
				answered.Add(1)
			}
		}()
	}
	for k := 2; k < 30; k++ {
		now := d.Current().Production
		for before := answered.Load(); answered.Load() < before+3; { // every release answers some
			time.Sleep(100 * time.Microsecond)
		}
		d.Assign(Assignment{Production: scaled(t, fmt.Sprint(k), float32(k)), Previous: now})
	}
	close(stop)
	wg.Wait()
	if failed.Load() != 0 || answered.Load() == 0 {
		t.Errorf("%d of %d requests failed during 28 swaps", failed.Load(), answered.Load())
	}
}

// TestShadowAndCanary checks who answers, and that every row is seen with both answers.
func TestShadowAndCanary(t *testing.T) {
	d, post := server(t, Config{})
	var mu sync.Mutex
	var seen []Observation
	d.Observe = func(o Observation) { mu.Lock(); seen = append(seen, o); mu.Unlock() }
	prod, cand := scaled(t, "1", 1), scaled(t, "2", -1)
	version := func(i int) string {
		_, body := post("/v2/models/m/infer", fmt.Sprintf(request, i, 9))
		var r struct {
			V string `json:"model_version"`
		}
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatal(err, body)
		}
		return r.V
	}
	d.Assign(Assignment{Production: prod, Candidate: cand, Stage: Shadow})
	for i := 0; i < 50; i++ {
		if v := version(i); v != "1" {
			t.Fatalf("in shadow, version %s answered", v)
		}
	}
	d.Flush()
	mu.Lock()
	if len(seen) != 50 || seen[0].Other == nil || seen[0].Candidate || stat.ArgMax(seen[0].P) == stat.ArgMax(seen[0].Other) {
		t.Errorf("%d rows seen, the first %+v", len(seen), seen[0])
	}
	seen = nil
	mu.Unlock()
	d.Assign(Assignment{Production: prod, Candidate: cand, Stage: Canary, Share: 0.3})
	by := map[string]int{}
	for i := 0; i < 400; i++ {
		v := version(i)
		by[v]++
		if v != version(i) {
			t.Fatal("the same id got two models")
		}
	}
	if n := by["2"]; n < 85 || n > 155 {
		t.Errorf("the canary answered %d of 400, its share is 0.3", n)
	}
	d.Flush()
	mu.Lock()
	defer mu.Unlock()
	for _, o := range seen {
		if o.Other == nil {
			t.Fatal("a row was seen with one answer only")
		}
	}
}

// TestBatching joins requests and gives each its own rows; one bad request fails alone.
func TestBatching(t *testing.T) {
	m := scaled(t, "1", 2)
	defer m.Close()
	var wg sync.WaitGroup
	for i := 0; i < 40; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			v := float32(i)
			in, err := m.bind(map[string]*tensor.Tensor{"x": tensor.OfFloat32([]float32{v, v, v}, 1, 3)})
			if err != nil {
				t.Error(err)
				return
			}
			out, err := m.Run(context.Background(), in)
			if err != nil || out[0].Float32s()[0] != 2*v {
				t.Errorf("request %d: %v %v", i, out, err)
			}
		}()
	}
	wg.Wait()
}

func TestBadRequests(t *testing.T) {
	d, post := server(t, Config{MaxBody: 2000})
	d.Assign(Assignment{Production: scaled(t, "1", 1)})
	for _, c := range []struct {
		name, path, body string
		code             int
		word             string
	}{
		{"unknown model", "/v2/models/x/infer", fmt.Sprintf(request, 1, 1), 404, "no such model"},
		{"unknown version", "/v2/models/m/versions/7/infer", fmt.Sprintf(request, 1, 1), 404, "version"},
		{"wrong dtype", "/v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"INT64","shape":[1,3],"data":[1,2,3]}]}`, 400, "FP32"},
		{"wrong shape", "/v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`, 400, "shape"},
		{"wrong name", "/v2/models/m/infer", `{"inputs":[{"name":"y","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}`, 400, "missing"},
		{"no rows", "/v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[0,3],"data":[]}]}`, 400, "shape"},
		{"too large", "/v2/models/m/infer", strings.Repeat(" ", 3000) + "{}", 413, "limit"},
		{"no JSON", "/v2/models/m/infer", "hello", 400, "JSON"},
		{"unknown output", "/v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}],"outputs":[{"name":"z"}]}`, 404, "output"},
		{"unknown path", "/v2/nothing", "", 404, "not served"},
		{"labels without a monitor", "/v2/models/m/labels", `{"labels":[{"id":"a","label":1}]}`, 400, "not monitored"},
	} {
		code, body := post(c.path, c.body)
		if code != c.code || !strings.Contains(body, c.word) || !strings.Contains(body, `"class"`) {
			t.Errorf("%s: %d %s", c.name, code, body)
		}
	}
	if code, _ := post("/v2/models/m/infer", fmt.Sprintf(request, 1, 1)); code != 200 {
		t.Errorf("a good request after the bad ones: %d", code)
	}
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k, key, err := OpenKeys(path)
	if err != nil || key == "" {
		t.Fatal(err)
	}
	again, none, err := OpenKeys(path)
	if err != nil || none != "" || !again.allow(key) || again.allow(key+"x") || again.allow("") {
		t.Errorf("the key file does not hold the key: %v", err)
	}
	d, post := server(t, Config{Keys: k})
	d.Assign(Assignment{Production: scaled(t, "1", 1)})
	for _, p := range []string{"/v2", "/v2/models/m", "/v2/models/m/config", "/metrics", "/", "/v2/models/m/monitor"} {
		if code, body := post(p, ""); code != 401 || !strings.Contains(body, "key") {
			t.Errorf("%s without a key: %d %s", p, code, body)
		}
	}
	for _, p := range []string{"/v2/health/live", "/v2/health/ready"} {
		if code, _ := post(p, ""); code != 200 {
			t.Errorf("%s: %d", p, code)
		}
	}
}

func TestStatusAndMetrics(t *testing.T) {
	d, post := server(t, Config{})
	d.Assign(Assignment{Production: scaled(t, "1", 1)})
	post("/v2/models/m/infer", fmt.Sprintf(request, 1, 1))
	if code, body := post("/", ""); code != 200 || !strings.Contains(body, "version 1") {
		t.Errorf("status page: %d %s", code, body)
	}
	if code, body := post("/metrics", ""); code != 200 || !strings.Contains(body, `muster_requests_total{model="m"} 1`) || !strings.Contains(body, "nv_inference_request_success") {
		t.Errorf("metrics: %d", code)
	}
	if code, body := post("/?format=json", ""); code != 200 || !json.Valid([]byte(body)) || !bytes.Contains([]byte(body), []byte(`"production"`)) {
		t.Errorf("status as JSON: %d %s", code, body)
	}
}
