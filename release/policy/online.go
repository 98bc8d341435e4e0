package policy

import "muster/fault"

// Canary says how a candidate is tried on live traffic.
type Canary struct {
	Alpha       float64 `json:"alpha"`        // probability of rolling back a healthy candidate, over all looks
	Margin      float64 `json:"margin"`       // loss of accuracy that a healthy candidate may have, 0 is allowed
	MinPairs    int     `json:"min_pairs"`    // no promotion before this many labelled pairs
	ShadowPairs int     `json:"shadow_pairs"` // pairs in shadow before any user is served by the candidate
	MaxPairs    int     `json:"max_pairs"`    // at this many pairs the trial ends undecided (hold)
	OnAlarm     string  `json:"on_alarm"`     // Rollback or Notify
}

// What an alarm may do.
const (
	Rollback = "rollback"
	Notify   = "notify"
)

// Monitor says how live traffic is watched.
type Monitor struct {
	DriftAlarmRate  float64 `json:"drift_alarm_rate"`  // share of clean windows that may raise an alarm
	Window          int     `json:"window"`            // requests per window
	RollbackOnDrift bool    `json:"rollback_on_drift"` // false: an alarm only notifies
}

// Without the sections, nothing acts by itself: alarms notify.
var (
	defaultCanary  = Canary{Alpha: 0.05, Margin: 0, MinPairs: 200, ShadowPairs: 200, MaxPairs: 5000, OnAlarm: Notify}
	defaultMonitor = Monitor{DriftAlarmRate: 0.01, Window: 200}
)

// maxPairs bounds the counts of pairs and requests, so that sums stay exact and memory bounded.
const maxPairs = 100_000_000

func parseCanary(f *fields) Canary {
	c := defaultCanary
	f.allow("alpha", "margin", "min_pairs", "shadow_pairs", "max_pairs", "on_alarm")
	c.Alpha = f.number("alpha", c.Alpha)
	c.Margin = f.number("margin", c.Margin)
	c.MinPairs = f.integer("min_pairs", c.MinPairs)
	c.ShadowPairs = f.integer("shadow_pairs", c.ShadowPairs)
	c.MaxPairs = f.integer("max_pairs", c.MaxPairs)
	c.OnAlarm = f.oneOf("on_alarm", c.OnAlarm, Notify, Rollback)
	f.alpha("alpha", c.Alpha)
	if !(c.Margin >= 0 && c.Margin < 1) {
		f.fail("margin", fault.Numeric, "margin is %s, must lie between 0 and 1", exact(c.Margin))
	}
	f.within("min_pairs", c.MinPairs, 1, maxPairs)
	f.within("shadow_pairs", c.ShadowPairs, 0, maxPairs)
	f.within("max_pairs", c.MaxPairs, 1, maxPairs)
	if c.MinPairs > c.MaxPairs || c.ShadowPairs > c.MaxPairs {
		f.fail("max_pairs", fault.Malformed, "max_pairs %d is below min_pairs %d or shadow_pairs %d: the trial could never be decided",
			c.MaxPairs, c.MinPairs, c.ShadowPairs)
	}
	return c
}

func parseMonitor(f *fields) Monitor {
	m := defaultMonitor
	f.allow("drift_alarm_rate", "window", "rollback_on_drift")
	m.DriftAlarmRate = f.number("drift_alarm_rate", m.DriftAlarmRate)
	m.Window = f.integer("window", m.Window)
	m.RollbackOnDrift = f.boolean("rollback_on_drift", m.RollbackOnDrift)
	f.alpha("drift_alarm_rate", m.DriftAlarmRate)
	f.within("window", m.Window, 10, maxPairs)
	return m
}
