package serve

import (
	"encoding/json"
	"net/http"
	"strconv"

	"muster/fault"
)

func itoa(i int) string { return strconv.Itoa(i) }

// maxLabels bounds one call.
const maxLabels = 100_000

// labels takes late labels: {"labels": [{"id": "...", "label": 3}, ...]}.
func (s *Server) labels(w http.ResponseWriter, r *http.Request) {
	s.withModel(w, r, func(d *Deployment, _ *Model) error {
		if d.Label == nil {
			return fault.New(fault.Unsupported, "labels", "this deployment is not monitored")
		}
		body, err := readBody(w, r, s.cfg.MaxBody)
		if err != nil {
			return err
		}
		var q struct {
			Labels []Label `json:"labels"`
		}
		if err := json.Unmarshal(body, &q); err != nil {
			return fault.New(fault.Malformed, "labels", "%w", err)
		}
		if len(q.Labels) == 0 || len(q.Labels) > maxLabels {
			return fault.New(fault.Malformed, "labels", "%d labels in one call; 1 to %d are allowed", len(q.Labels), maxLabels)
		}
		rep, err := d.Label(q.Labels)
		if err != nil {
			return err
		}
		writeJSON(w, 200, rep)
		return nil
	})
}

// monitor answers the state of the watch over a deployment.
func (s *Server) monitor(w http.ResponseWriter, r *http.Request) {
	s.withModel(w, r, func(d *Deployment, _ *Model) error {
		if d.Report == nil {
			return fault.New(fault.Unsupported, "monitor", "this deployment is not monitored")
		}
		writeJSON(w, 200, d.Report())
		return nil
	})
}
