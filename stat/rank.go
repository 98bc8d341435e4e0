package stat

import (
	"math"
	"sort"

	"muster/fault"
	"muster/internal/detmath"
)

// AUC is an area under the ROC curve with its sampling variance.
type AUC struct {
	Value    float64
	Variance float64 // DeLong; 0 with fewer than two items of a class
	Positive int     // items of each class
	Negative int
}

// Interval returns the normal interval of the area, clipped to [0, 1].
func (a AUC) Interval(level float64) Interval {
	mustRate("level", level)
	half := float64(detmath.NormalQuantile(0.5+level/2) * math.Sqrt(a.Variance))
	return Interval{Low: math.Max(0, a.Value-half), High: math.Min(1, a.Value+half), Level: level, Method: "delong"}
}

// AUROC returns the probability that a positive item scores above a negative one,
// ties counting one half, with DeLong's variance (DeLong, DeLong, Clarke-Pearson,
// Biometrics 44, 1988) in the O(n log n) form of Sun and Xu (2014).
// It is an error if a class is empty or a score is NaN.
func AUROC(score []float64, positive []bool) (AUC, error) {
	c, err := components(score, positive)
	if err != nil {
		return AUC{}, err
	}
	return c.auc(), nil
}

// AUCTest compares the areas of two scores on the same items.
type AUCTest struct {
	A, B       AUC
	Covariance float64
	Z, P       float64 // of the hypothesis of equal areas, two-sided; Z is 0 and P 1 if the variance of the difference is 0
}

// DeLong compares two scores of the same items, paired (DeLong et al. 1988).
func DeLong(a, b []float64, positive []bool) (AUCTest, error) {
	ca, err := components(a, positive)
	if err != nil {
		return AUCTest{}, err
	}
	cb, err := components(b, positive)
	if err != nil {
		return AUCTest{}, err
	}
	t := AUCTest{A: ca.auc(), B: cb.auc(), P: 1}
	t.Covariance = covariance(ca.pos, cb.pos)/float64(len(ca.pos)) + covariance(ca.neg, cb.neg)/float64(len(ca.neg))
	if v := t.A.Variance + t.B.Variance - 2*t.Covariance; v > 1e-14 {
		t.Z = (t.A.Value - t.B.Value) / math.Sqrt(v)
		t.P = detmath.Erfc(math.Abs(t.Z) / math.Sqrt2)
	}
	return t, nil
}

// placements holds, for each positive item, the share of negatives below it, and
// for each negative item the share of positives above it.
type placements struct{ pos, neg []float64 }

func (c placements) auc() AUC {
	a := AUC{Positive: len(c.pos), Negative: len(c.neg)}
	for _, v := range c.pos {
		a.Value += v
	}
	a.Value /= float64(len(c.pos))
	a.Variance = covariance(c.pos, c.pos)/float64(len(c.pos)) + covariance(c.neg, c.neg)/float64(len(c.neg))
	return a
}

func components(score []float64, positive []bool) (placements, error) {
	var c placements
	if len(score) != len(positive) {
		return c, fault.New(fault.Mismatch, "", "stat: %d scores and %d classes", len(score), len(positive))
	}
	var pos, neg []float64
	for i, s := range score {
		switch {
		case math.IsNaN(s):
			return c, fault.New(fault.Numeric, "", "stat: score %d is NaN", i)
		case positive[i]:
			pos = append(pos, s)
		default:
			neg = append(neg, s)
		}
	}
	if len(pos) == 0 || len(neg) == 0 {
		return c, fault.New(fault.Numeric, "", "stat: an ROC curve needs both classes; there are %d positive and %d negative items", len(pos), len(neg))
	}
	sortedPos, sortedNeg := sorted(pos), sorted(neg)
	for _, s := range pos {
		c.pos = append(c.pos, below(sortedNeg, s))
	}
	for _, s := range neg {
		c.neg = append(c.neg, 1-below(sortedPos, s))
	}
	return c, nil
}

// below returns the share of sorted values less than s, ties counting one half.
func below(x []float64, s float64) float64 {
	lo := sort.SearchFloat64s(x, s)
	hi := lo + sort.Search(len(x)-lo, func(i int) bool { return x[lo+i] > s })
	return float64(lo+hi) / float64(2*len(x))
}

func sorted(x []float64) []float64 {
	y := append([]float64(nil), x...)
	sort.Float64s(y)
	return y
}

// covariance returns the unbiased sample covariance, 0 for fewer than two pairs.
func covariance(x, y []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	var mx, my, s float64
	for i := range x {
		mx += x[i]
		my += y[i]
	}
	mx /= float64(len(x))
	my /= float64(len(x))
	for i := range x {
		s += float64((x[i] - mx) * (y[i] - my))
	}
	return s / float64(len(x)-1)
}

// FPRAtTPR returns the share of negative items that score at or above the highest
// threshold which still finds the share tpr of the positive ones (FPR95: tpr = 0.95).
// Name the positive class beside the number: exchanging the classes gives another one.
func FPRAtTPR(score []float64, positive []bool, tpr float64) (fpr, threshold float64, err error) {
	if _, err := components(score, positive); err != nil {
		return 0, 0, err
	}
	if !(tpr > 0 && tpr <= 1) {
		return 0, 0, fault.New(fault.Numeric, "", "stat: a true positive rate of %v is outside (0, 1]", tpr)
	}
	var pos, neg []float64
	for i, s := range score {
		if positive[i] {
			pos = append(pos, s)
		} else {
			neg = append(neg, s)
		}
	}
	sort.Float64s(pos)
	need := int(math.Ceil(float64(tpr*float64(len(pos))) - 1e-9))
	threshold = pos[len(pos)-need]
	hits := 0
	for _, s := range neg {
		if s >= threshold {
			hits++
		}
	}
	return float64(hits) / float64(len(neg)), threshold, nil
}
