package stat

import (
	"math"

	"muster/internal/detmath"
)

// Evidence that may be looked at after every observation. An e-process is a
// non-negative process with expectation at most 1 at every stopping time under its
// null hypothesis, so by Ville's inequality it ever reaches 1/alpha with probability
// at most alpha (Ramdas, Gruenwald, Vovk, Shafer, "Game-theoretic statistics and safe
// anytime-valid inference", Statistical Science 38, 2023). All processes here are
// functions of counts, so they do not depend on the order of a log, merge by adding,
// and can be computed again from three integers.

// Threshold returns log(1/alpha), what a log e-value must reach to decide at alpha.
func Threshold(alpha float64) float64 {
	mustRate("alpha", alpha)
	return -detmath.Log(alpha)
}

// BernoulliE counts hits in independent trials.
type BernoulliE struct {
	N    int `json:"n"`
	Hits int `json:"hits"`
}

// Observe counts one trial.
func (e *BernoulliE) Observe(hit bool) {
	e.N++
	if hit {
		e.Hits++
	}
}

// LogAbove returns the log e-value against "the rate of hits is at most p0": the
// likelihood ratio averaged uniformly over rates in (p0, 1). Closed form:
// integral / (1-p0) = P(Bin(n+1, p0) <= x) / ((n+1) (1-p0) P(Bin(n, p0) = x)).
// p0 must lie in (0, 1).
func (e BernoulliE) LogAbove(p0 float64) float64 { return logMixture(e.Hits, e.N, p0) }

// LogBelow returns the log e-value against "the rate of hits is at least p0".
func (e BernoulliE) LogBelow(p0 float64) float64 { return logMixture(e.N-e.Hits, e.N, 1-p0) }

func logMixture(hits, trials int, p0 float64) float64 {
	mustRate("p0", p0)
	mustCount(hits, trials)
	x, n, q0 := float64(hits), float64(trials), 1-p0
	if x <= float64((n+1)*p0) {
		// Few hits: sum the ratios P(Bin(n+1) = k) / P(Bin(n) = x) from k = x down; they fall.
		term := float64((n + 1) / (n + 1 - x) * q0)
		sum := term
		for k := x; k > 0 && term > sum*1e-17; k-- {
			term = float64(term * (float64(k*q0) / float64((n+2-k)*p0)))
			sum += term
		}
		return detmath.Log(sum / float64((n+1)*q0))
	}
	// Many hits: the probability of at most x is 1 minus a small upper tail.
	upper := 0.0
	if x < n+1 {
		term := detmath.Exp(logBinomial(x+1, n+1, p0))
		for k := x + 1; term > 1e-18; k++ {
			upper += term
			if k == n+1 {
				break
			}
			term = float64(term * (float64((n+1-k)*p0) / float64((k+1)*q0)))
		}
	}
	return detmath.Log1p(-upper) - detmath.Log(float64((n+1)*q0)) - logBinomial(x, n, p0)
}

// PairE counts paired right/wrong outcomes of a candidate and a baseline on the
// same requests and gives anytime-valid evidence about their difference.
type PairE struct {
	N      int `json:"n"`      // pairs
	Worse  int `json:"worse"`  // only the baseline was right
	Better int `json:"better"` // only the candidate was right
}

// Observe counts one pair.
func (e *PairE) Observe(candidateRight, baselineRight bool) {
	e.N++
	switch {
	case baselineRight && !candidateRight:
		e.Worse++
	case candidateRight && !baselineRight:
		e.Better++
	}
}

// Value returns the log e-value against "the candidate is not worse": among
// discordant pairs the share of worse ones is at most 1/2; the alternative is mixed
// uniformly over (1/2, 1).
func (e PairE) Value() float64 { return logMixture(e.Worse, e.Worse+e.Better, 0.5) }

// Stop reports whether "not worse" is refuted at alpha. A candidate that is not
// worse is ever stopped with probability at most alpha, however often one looks.
func (e PairE) Stop(alpha float64) bool { return e.Value() >= Threshold(alpha) }

// betGrid is the mixture of bets, as shares of the largest admissible one.
var betGrid = [...]float64{0.95, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09, 0.0625, 0.044, 0.03, 0.02, 0.012, 0.006}

// LogWithin returns the log e-value against "the loss is at least margin" (mean
// difference <= -margin), by betting on the differences D in {-1, 0, 1} (Waudby-Smith
// and Ramdas, JRSS B 86, 2024): the average over shares g of the products of
// 1 + g (D + margin)/(1 - margin). margin may lie in (-1, 1); a negative one asks
// whether the candidate is better by as much.
func (e PairE) LogWithin(margin float64) float64 {
	return logBets(e.N-e.Worse-e.Better, e.Better, e.Worse, margin)
}

// LogBeyond returns the log e-value against "the loss is at most tolerance".
func (e PairE) LogBeyond(tolerance float64) float64 {
	return logBets(e.N-e.Worse-e.Better, e.Worse, e.Better, -tolerance)
}

// logBets is the mixture for values 0, +1 and -1 seen zero, up and down times,
// against "mean <= -m".
func logBets(zero, up, down int, m float64) float64 {
	if !(m > -1 && m < 1) {
		panic("stat: margin outside (-1, 1)")
	}
	var logs [len(betGrid)]float64
	top := math.Inf(-1)
	for i, g := range betGrid {
		logs[i] = float64(float64(zero)*detmath.Log1p(g*(m/(1-m)))) +
			float64(float64(up)*detmath.Log1p(g*((1+m)/(1-m)))) +
			float64(float64(down)*detmath.Log1p(-g))
		top = math.Max(top, logs[i])
	}
	sum := 0.0
	for _, l := range logs {
		sum += detmath.Exp(l - top)
	}
	return top + detmath.Log(sum/float64(len(betGrid)))
}

// Interval returns a confidence sequence for accuracy(candidate) - accuracy(baseline):
// the intervals after all numbers of pairs contain the true difference together
// with probability at least level.
func (e PairE) Interval(level float64) Interval {
	mustRate("level", level)
	need := Threshold((1 - level) / 2)
	zero := e.N - e.Worse - e.Better
	iv := Interval{Low: -1, High: 1, Level: level, Method: "betting-confidence-sequence"}
	const edge = 1 - 1e-12
	if logBets(zero, e.Better, e.Worse, edge) >= need { // evidence grows with the margin
		iv.Low = -bisect(-edge, edge, func(m float64) bool { return logBets(zero, e.Better, e.Worse, m) < need })
	}
	if logBets(zero, e.Worse, e.Better, edge) >= need {
		iv.High = bisect(-edge, edge, func(m float64) bool { return logBets(zero, e.Worse, e.Better, m) < need })
	}
	return iv
}
