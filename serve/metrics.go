package serve

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what /metrics publishes. Labels are model names and error classes only, so their number is bounded.
type metrics struct {
	reg      *prometheus.Registry
	latency  *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

func newMetrics(s *Server) *metrics {
	m := &metrics{reg: prometheus.NewRegistry(),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "muster_request_duration_seconds",
			Help: "Time from the first byte of an inference request to its answer.", Buckets: prometheus.ExponentialBuckets(100e-6, 2, 16)}, []string{"model"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_request_failures_total", Help: "Requests answered with an error, by class."}, []string{"class"}),
	}
	m.reg.MustRegister(m.latency, m.failures, deployments{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(model *Model, took time.Duration) {
	m.latency.WithLabelValues(model.Name).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// deployments collects the counters that deployments keep.
type deployments struct{ s *Server }

var (
	descRequests = prometheus.NewDesc("muster_requests_total", "Inference requests answered.", []string{"model"}, nil)
	descRows     = prometheus.NewDesc("muster_rows_total", "Rows answered.", []string{"model"}, nil)
	descDropped  = prometheus.NewDesc("muster_observations_dropped_total", "Requests that the monitor did not see because it was busy.", []string{"model"}, nil)
	descSuccess  = prometheus.NewDesc("nv_inference_request_success", "Inference requests answered (the name that dashboards for Triton read).", []string{"model", "version"}, nil)
	descRuns     = prometheus.NewDesc("nv_inference_exec_count", "Batches run (the name that dashboards for Triton read).", []string{"model", "version"}, nil)
	descLive     = prometheus.NewDesc("muster_release_info", "1 for every loaded release.", []string{"model", "version", "digest", "role"}, nil)
)

func (deployments) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRequests, descRows, descDropped, descSuccess, descRuns, descLive} {
		ch <- d
	}
}

func (c deployments) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, d := range c.s.Deployments() {
		count(descRequests, d.requests.Load(), d.Name)
		count(descRows, d.rows.Load(), d.Name)
		count(descDropped, d.dropped.Load(), d.Name)
		a := d.Current()
		if m := a.Production; m != nil {
			count(descSuccess, d.requests.Load(), d.Name, m.Version)
			count(descRuns, m.batch.runs.Load(), d.Name, m.Version)
		}
		for role, m := range map[string]*Model{"production": a.Production, string(a.Stage): a.Candidate, "previous": a.Previous} {
			if m != nil {
				ch <- prometheus.MustNewConstMetric(descLive, prometheus.GaugeValue, 1, d.Name, m.Version, m.Digest.Short(), role)
			}
		}
	}
}
