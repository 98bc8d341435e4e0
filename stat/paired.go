package stat

import (
	"math"

	"muster/fault"
	"muster/internal/detmath"
)

// In paired comparisons of right/wrong answers on the same n items, worse counts
// the items that only the baseline got right, better those that only the candidate
// got right. The difference is accuracy(candidate) - accuracy(baseline) =
// (better - worse)/n; the other n - worse - better items carry no information about it.

// McNemar returns the two-sided exact and mid-p values of the hypothesis that
// worse and better are equally likely (McNemar 1947; mid-p: Fagerland, Lydersen,
// Laake, BMC Med. Res. Methodol. 13:91, 2013).
func McNemar(worse, better int) (exact, mid float64) {
	n := worse + better
	if n == 0 {
		return 1, 1
	}
	k := min(worse, better)
	tail := BinomialCDF(k, n, 0.5)
	point := detmath.Exp(logBinomial(float64(k), float64(n), 0.5))
	exact = math.Min(1, 2*tail)
	if worse == better {
		return 1, 1 - point/2 // Fagerland's definition: the middle point counts half
	}
	return exact, 2*tail - point
}

// scoreZ is Tango's score statistic for the hypothesis that the difference is d:
// (better - worse - n d) over its standard error under that hypothesis
// (Tango, Statist. Med. 17, 1998, eq. 4 and 5). It falls with d and with worse, and grows with better.
func scoreZ(worse, better, n int, d float64) float64 {
	w, b, N := float64(worse), float64(better), float64(n)
	num := b - w - float64(N*d)
	A := 2 * N
	B := -b - w + float64((A-b+w)*d)
	C := -float64(w * float64(d*(1-d)))
	root := math.Sqrt(math.Max(0, float64(B*B)-float64(4*float64(A*C))))
	q := (root - B) / (2 * A) // restricted estimate of P(only the baseline is right)
	v := float64(N * (2*q + float64(d*(1-d))))
	if v <= 0 {
		if num == 0 {
			return 0
		}
		return math.Copysign(math.Inf(1), num)
	}
	return num / math.Sqrt(v)
}

// PairedDifference returns the difference of accuracy and Tango's score interval,
// which keeps its coverage for few discordant items and never leaves [-1, 1].
// n = 0 gives 0 and [-1, 1].
func PairedDifference(worse, better, n int, level float64) (float64, Interval) {
	mustRate("level", level)
	mustCount(worse+better, n)
	iv := Interval{Low: -1, High: 1, Level: level, Method: "tango-score"}
	if n == 0 {
		return 0, iv
	}
	d := float64(better-worse) / float64(n)
	z := detmath.NormalQuantile(0.5 + level/2)
	at := func(d float64) float64 { return scoreZ(worse, better, n, d) }
	iv.Low = bisect(-1, d, func(x float64) bool { return at(x) > z })
	iv.High = bisect(d, 1, func(x float64) bool { return at(x) > -z })
	return d, iv
}

// bisect returns the point of [lo, hi] where the falling predicate turns false.
func bisect(lo, hi float64, high func(float64) bool) float64 {
	for range 60 {
		mid := lo + (hi-lo)/2
		if high(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo + (hi-lo)/2
}

// Decision is the outcome of a test that may lack evidence. The strings are those
// of record.Outcome.
type Decision string

// The three decisions.
const (
	Pass   Decision = "pass"
	Fail   Decision = "fail"
	Unsure Decision = "not enough evidence"
)

// NonInferiority is the result of NonInferior.
type NonInferiority struct {
	Decision   Decision
	P          float64  // of the hypothesis "the loss is at least the margin"; small means proven non-inferior
	PWorse     float64  // of the hypothesis "the loss is at most the margin"; small means proven inferior
	Difference float64  // accuracy(candidate) - accuracy(baseline)
	Interval   Interval // of the difference, level 1 - 2 alpha: the two one-sided bounds
}

// NonInferior tests whether the candidate loses less than margin (an absolute
// accuracy, 0.01 is one point) against the baseline on n paired items. Pass means
// that a loss of margin or more is refuted at alpha, Fail that a loss of margin or
// less is, Unsure neither.
//
// Both p-values are exact: the probability, under the least favourable discordance
// rate, of a score statistic at least as extreme (Hsueh, Liu, Chen, Biometrics 57,
// 2001), with that rate confined to a 1 - 1e-5 interval whose error is added (Berger
// and Boos, JASA 89, 1994). The false pass rate is therefore at most alpha for every n.
func NonInferior(worse, better, n int, margin, alpha float64) (NonInferiority, error) {
	var r NonInferiority
	if err := CheckRate("alpha", alpha); err != nil {
		return r, err
	}
	if !(margin >= 0 && margin < 1) || alpha >= 0.5 {
		return r, fault.New(fault.Numeric, "", "stat: margin %v must lie in [0, 1), alpha %v below 0.5", margin, alpha)
	}
	if worse < 0 || better < 0 || n < worse+better || n > 1<<30 {
		return r, fault.New(fault.Numeric, "", "stat: %d worse and %d better of %d pairs is impossible", worse, better, n)
	}
	r.Decision, r.P, r.PWorse = Unsure, 1, 1
	r.Difference, r.Interval = PairedDifference(worse, better, n, 1-2*alpha)
	if n == 0 {
		return r, nil
	}
	r.P = exactScoreP(worse, better, n, margin)
	r.PWorse = exactScoreP(better, worse, n, -margin)
	switch {
	case r.P <= alpha:
		r.Decision = Pass
	case r.PWorse <= alpha:
		r.Decision = Fail
	}
	return r, nil
}

const (
	nuisanceError = 1e-5 // gamma of Berger and Boos
	nuisanceGrid  = 48
)

// exactScoreP returns sup over the discordance rate of P(T >= t) under
// P(only baseline) - P(only candidate) = margin.
func exactScoreP(worse, better, n int, margin float64) float64 {
	t := scoreZ(worse, better, n, -margin)
	region := criticalRegion(n, margin, t-float64(1e-9*math.Abs(t))) // the tolerance keeps ties in
	psi := ClopperPearson(worse+better, n, 1-nuisanceError)
	lo := math.Max(math.Max(0, -margin), (psi.Low-margin)/2)
	hi := math.Min((1-margin)/2, (psi.High-margin)/2)
	p := 0.0
	for i := 0; hi >= lo && i <= nuisanceGrid; i++ {
		theta := lo + float64((hi-lo)*(float64(i)/nuisanceGrid))
		p = math.Max(p, regionProbability(region, n, theta+margin, theta))
	}
	return math.Min(1, p+nuisanceError)
}

// criticalRegion returns, lazily, the smallest number of better items that reaches
// t for each number of worse ones; n+1 if none does. It grows with worse.
func criticalRegion(n int, margin, t float64) func(worse int) int {
	known := map[int]int{}
	return func(worse int) int {
		if c, ok := known[worse]; ok {
			return c
		}
		lo, hi := 0, n-worse+1
		for lo < hi {
			mid := (lo + hi) / 2
			if scoreZ(worse, mid, n, -margin) >= t {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		if lo > n-worse {
			lo = n + 1
		}
		known[worse] = lo
		return lo
	}
}

// regionProbability sums the trinomial probability of the region at P(worse) = pw,
// P(better) = pb; terms below 1e-15 are left out on both sides of the mode.
func regionProbability(region func(int) int, n int, pw, pb float64) float64 {
	if pw <= 0 {
		return betterTail(region(0), n, pb)
	}
	sum := 0.0
	mode := min(n, int(float64(float64(n)*pw)))
	for _, step := range []int{1, -1} {
		for w := mode + (step-1)/2; w >= 0 && w <= n; w += step {
			p := detmath.Exp(logBinomial(float64(w), float64(n), math.Min(pw, 1-1e-16)))
			if p < 1e-15 {
				break
			}
			sum += float64(p * betterTail(region(w), n-w, pb/(1-pw)))
		}
	}
	return sum
}

func betterTail(c, n int, p float64) float64 {
	if p <= 0 && c > 0 {
		return 0
	}
	return binomialTail(c, n, math.Min(p, 1))
}

// MinDetectable returns the smallest true loss of accuracy that a one-sided paired
// test at alpha over n pairs finds with the given power, if the two models disagree
// in correctness on the share discordant of the items (Connor, Biometrics 43, 1987,
// solved for the difference). If even a loss of all of discordant would not be
// found, that is an error of class exhausted.
func MinDetectable(n int, discordant, alpha, power float64) (float64, error) {
	if err := checkPower(n, discordant, alpha, power); err != nil {
		return 0, err
	}
	needed := func(d float64) bool { return float64(pairsNeeded(d, discordant, alpha, power)) > float64(n) }
	if needed(discordant) {
		return 0, fault.New(fault.Exhausted, "", "stat: %d pairs with %.3g discordance cannot reveal any loss at alpha %v with power %v", n, discordant, alpha, power).
			WithHint("measure more items")
	}
	return bisect(0, discordant, needed), nil
}

// PairsNeeded returns the number of pairs that a one-sided paired test at alpha
// needs to find a true loss with the given power (Connor 1987).
func PairsNeeded(loss, discordant, alpha, power float64) (int, error) {
	if err := checkPower(1, discordant, alpha, power); err != nil {
		return 0, err
	}
	if !(loss > 0 && loss <= discordant) {
		return 0, fault.New(fault.Numeric, "", "stat: a loss of %v needs a discordance of at least as much, not %v", loss, discordant)
	}
	return int(math.Min(math.Ceil(pairsNeeded(loss, discordant, alpha, power)), math.MaxInt32)), nil
}

func pairsNeeded(d, psi, alpha, power float64) float64 {
	za, zb := detmath.NormalQuantile(1-alpha), detmath.NormalQuantile(power)
	r := (float64(za*math.Sqrt(psi)) + float64(zb*math.Sqrt(math.Max(0, psi-float64(d*d))))) / d
	return float64(r * r)
}

func checkPower(n int, discordant, alpha, power float64) error {
	if err := CheckRate("alpha", alpha); err != nil {
		return err
	}
	if err := CheckRate("power", power); err != nil {
		return err
	}
	if power <= alpha {
		return fault.New(fault.Numeric, "", "stat: power %v does not exceed alpha %v", power, alpha)
	}
	if n < 1 || !(discordant > 0 && discordant <= 1) {
		return fault.New(fault.Numeric, "", "stat: %d pairs at a discordance of %v cannot be planned", n, discordant).
			WithHint("discordance must lie in (0, 1]; estimate it with a margin when none was seen")
	}
	return nil
}
