package serve

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"time"
)

//go:embed status.html
var statusHTML string

var statusPage = template.Must(template.New("status").Parse(statusHTML))

// deploymentView is one deployment on the status page.
type deploymentView struct {
	Name                            string
	Production, Candidate, Previous *Model
	Stage                           Stage
	SharePercent                    float64
	Requests, Rows, Dropped, Errors int64
	Report                          any
}

// status is the page at /: what is live and how it is doing, in plain words.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	var views []deploymentView
	for _, d := range s.Deployments() {
		a := d.Current()
		v := deploymentView{Name: d.Name, Production: a.Production, Candidate: a.Candidate, Previous: a.Previous, Stage: a.Stage,
			SharePercent: 100 * a.Share, Requests: d.requests.Load(), Rows: d.rows.Load(), Dropped: d.dropped.Load(), Errors: d.errors.Load()}
		if d.Report != nil {
			v.Report = d.Report()
		}
		views = append(views, v)
	}
	if r.URL.Query().Get("format") == "json" {
		writeJSON(w, 200, statusJSON(views))
		return
	}
	var b bytes.Buffer
	err := statusPage.Execute(&b, map[string]any{"Version": s.cfg.Version, "Up": time.Since(s.started).Round(time.Second), "Deployments": views})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes())
}

// statusJSON is the JSON twin of the page.
func statusJSON(views []deploymentView) any {
	model := func(m *Model) any {
		if m == nil {
			return nil
		}
		return map[string]any{"version": m.Version, "release": m.Release, "digest": m.Digest}
	}
	out := []map[string]any{}
	for _, v := range views {
		out = append(out, map[string]any{"name": v.Name, "production": model(v.Production), "candidate": model(v.Candidate), "previous": model(v.Previous),
			"stage": v.Stage, "share": v.SharePercent / 100, "requests": v.Requests, "rows": v.Rows, "dropped": v.Dropped, "errors": v.Errors, "monitor": v.Report})
	}
	return map[string]any{"deployments": out}
}
