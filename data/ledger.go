package data

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"muster/fault"
	"muster/record"
	"muster/rng"
)

// SplitConfig says how rows get their roles. If all shares are 0 they are 0.6 train,
// 0.1 select, 0.15 calibrate, 0 threshold and 0.15 test. What the shares leave below 1
// stays unassigned.
type SplitConfig struct {
	Train        float64 `json:"train"`
	Select       float64 `json:"select"`
	Calibrate    float64 `json:"calibrate"`
	Threshold    float64 `json:"threshold"`
	Test         float64 `json:"test"`
	Seed         uint64  `json:"seed"`                   // below 2^53
	Unstratified bool    `json:"unstratified,omitempty"` // do not keep the shares within each class
	Groups       []int   `json:"-"`                      // of each row: rows with the same number get the same role; nil: those of FindDuplicates
}

// share returns the share of a role.
func (c SplitConfig) share(r Role) float64 {
	switch r {
	case Train:
		return c.Train
	case Select:
		return c.Select
	case Calibrate:
		return c.Calibrate
	case Threshold:
		return c.Threshold
	case Test:
		return c.Test
	}
	return 0
}

// SplitShares returns a configuration with the given shares by role.
func SplitShares(shares map[Role]float64, seed uint64) (SplitConfig, error) {
	c := SplitConfig{Seed: seed}
	for r, v := range shares {
		switch r {
		case Train:
			c.Train = v
		case Select:
			c.Select = v
		case Calibrate:
			c.Calibrate = v
		case Threshold:
			c.Threshold = v
		case Test:
			c.Test = v
		default:
			return c, fault.New(fault.Malformed, "split", "%q is not a role", r).WithHint("the roles are %v", Roles())
		}
	}
	return c, nil
}

func (c SplitConfig) orDefault() (SplitConfig, error) {
	total := 0.0
	for _, r := range Roles() {
		v := c.share(r)
		if !(v >= 0 && v <= 1) {
			return c, fault.New(fault.Malformed, "split", "the share of %s is %g", r, v).WithHint("shares are between 0 and 1")
		}
		total += v
	}
	if total == 0 {
		c.Train, c.Select, c.Calibrate, c.Test = 0.6, 0.1, 0.15, 0.15
	}
	if total > 1+1e-9 {
		return c, fault.New(fault.Malformed, "split", "the shares add up to %g", total).WithHint("they must not be more than 1 in all")
	}
	if c.Seed >= 1<<53 {
		return c, fault.New(fault.Malformed, "split", "the seed %d is not below 2^53", c.Seed)
	}
	return c, nil
}

// LedgerVersion is the version of the ledger's JSON form.
const LedgerVersion = 1

// Ledger is the record of who may use which row for what. It is safe for concurrent use.
type Ledger struct {
	Version int           `json:"version"`
	Data    record.Digest `json:"data"`   // of the set
	Split   SplitConfig   `json:"split"`  // defaults filled in
	Groups  record.Digest `json:"groups"` // of the group of each row
	Roles   string        `json:"roles"`  // a letter for each row: t train, s select, c calibrate, h threshold, e test, - unassigned
	Uses    []Use         `json:"uses,omitempty"`

	mu sync.Mutex
}

// Use counts how often a role was used for a purpose.
type Use struct {
	Role    Role    `json:"role"`
	Purpose Purpose `json:"purpose"`
	Count   int     `json:"count"`
}

var letters = map[Role]byte{Train: 't', Select: 's', Calibrate: 'c', Threshold: 'h', Test: 'e', Unassigned: '-'}

// roleLetter returns the letter of a role; an unknown role is as unassigned.
func roleLetter(r Role) byte {
	if l, ok := letters[r]; ok {
		return l
	}
	return '-'
}

func letterRole(b byte) (Role, bool) {
	for r, l := range letters {
		if l == b {
			return r, true
		}
	}
	return Unassigned, false
}

// Assign gives every row of s a role and fits the transform on the training rows. Rows of one
// group get one role; the shares hold within each class, up to the size of a group; rows
// without a label stay unassigned. The same set, shares and seed give the same roles.
func Assign(s *Set, cfg SplitConfig) (*Ledger, error) {
	cfg, err := cfg.orDefault()
	if err != nil {
		return nil, err
	}
	groups := cfg.Groups
	if groups == nil {
		groups = FindDuplicates(s).Groups
	}
	if len(groups) != s.Len() {
		return nil, fault.New(fault.Mismatch, "split", "%d group numbers for %d rows", len(groups), s.Len())
	}
	roles := deal(s, cfg, groups)
	l := &Ledger{Version: LedgerVersion, Data: s.Digest(), Split: cfg, Groups: groupsDigest(groups)}
	var b strings.Builder
	for _, r := range roles {
		b.WriteByte(roleLetter(r))
	}
	l.Roles = b.String()
	for _, r := range Roles() {
		if cfg.share(r) > 0 && !strings.Contains(l.Roles, string(letters[r])) {
			return nil, fault.New(fault.Exhausted, "split", "no row is left for the role %s: %d rows in %d groups", r, s.Len(), countDistinct(groups)).
				WithHint("bring more rows, or give fewer roles a share")
		}
	}
	return l, l.Apply(s)
}

func countDistinct(v []int) int {
	seen := map[int]bool{}
	for _, x := range v {
		seen[x] = true
	}
	return len(seen)
}

func groupsDigest(groups []int) record.Digest {
	h := sha256.New()
	b := make([]byte, 0, 8*len(groups))
	for _, g := range groups {
		b = binary.LittleEndian.AppendUint64(b, uint64(g))
	}
	frame(h, []byte("muster.groups/1"))
	frame(h, b)
	return sum(h)
}

// deal goes through the groups of each class in random order and gives each group to the
// role that lacks most rows, in its class first and in all second.
func deal(s *Set, cfg SplitConfig, groups []int) []Role {
	all := append(Roles(), Unassigned)
	want := make([]float64, len(all))
	rest := 1.0
	for i, r := range Roles() {
		want[i] = cfg.share(r)
		rest -= want[i]
	}
	if rest > 1e-9 {
		want[len(all)-1] = rest
	}
	strata, members := stratify(s, cfg, groups)
	roles := make([]Role, s.Len())
	overall, seen := make([]int, len(all)), 0
	for _, st := range strata {
		st.shuffle(rng.New(cfg.Seed).Named("split"))
		given, n := make([]int, len(all)), 0
		for _, g := range st.groups {
			size := len(members[g])
			n, seen = n+size, seen+size
			best := -1
			var lack, lackAll float64
			for k := range all {
				if want[k] == 0 {
					continue
				}
				a := float64(want[k]*float64(n)) - float64(given[k])
				b := float64(want[k]*float64(seen)) - float64(overall[k])
				if best < 0 || a > lack+1e-9 || a > lack-1e-9 && b > lackAll {
					best, lack, lackAll = k, a, b
				}
			}
			given[best] += size
			overall[best] += size
			for _, i := range members[g] {
				roles[i] = all[best]
			}
		}
	}
	return roles
}

// stratum is the groups of one class.
type stratum struct {
	class  int64
	groups []int
}

func (st *stratum) shuffle(key rng.Key) {
	key.Split(uint64(st.class)).Stream().Shuffle(len(st.groups), func(i, j int) {
		st.groups[i], st.groups[j] = st.groups[j], st.groups[i]
	})
}

// stratify lists the groups by the class of their first labelled row, classes ascending,
// groups in the order of their first row. Rows without a label are left out.
func stratify(s *Set, cfg SplitConfig, groups []int) ([]*stratum, map[int][]int) {
	labels, members := s.Labels(), map[int][]int{}
	at := map[int64]*stratum{}
	var out []*stratum
	for i, g := range groups {
		class := int64(0)
		if labels != nil {
			if labels[i] < 0 {
				continue
			}
			if !cfg.Unstratified {
				class = labels[i]
			}
		}
		if members[g] == nil {
			st := at[class]
			if st == nil {
				st = &stratum{class: class}
				at[class] = st
				out = append(out, st)
			}
			st.groups = append(st.groups, g)
		}
		members[g] = append(members[g], i)
	}
	slices.SortFunc(out, func(a, b *stratum) int { return int(a.class - b.class) })
	return out, members
}

// Apply gives s the roles of the ledger and the transform of its training rows. The set
// must be the one that the ledger was made for.
func (l *Ledger) Apply(s *Set) error {
	if d := s.Digest(); d != l.Data {
		return fault.New(fault.Mismatch, "ledger", "it is for the data %s, not %s", l.Data.Short(), d.Short()).
			WithHint("the data changed since the split: assign roles again, or bring the old data back")
	}
	if len(l.Roles) != s.Len() {
		return fault.New(fault.Mismatch, "ledger", "%d roles for %d rows", len(l.Roles), s.Len())
	}
	roles := make([]Role, s.Len())
	for i := range roles {
		roles[i], _ = letterRole(l.Roles[i])
	}
	s.Roles = roles
	s.Transform = FitTransform(s, s.Rows(Train))
	return nil
}

// Count returns the number of rows with a role.
func (l *Ledger) Count(r Role) int { return strings.Count(l.Roles, string(roleLetter(r))) }

// Digest names the split: data, shares, seed, groups and roles, not the uses.
func (l *Ledger) Digest() record.Digest {
	d, err := record.DigestOf(map[string]any{
		"version": l.Version, "data": l.Data, "split": l.Split, "groups": l.Groups, "roles": l.Roles,
	})
	if err != nil {
		panic("data: a ledger that was checked: " + err.Error())
	}
	return d
}

// Subject names the ledger in records.
func (l *Ledger) Subject() record.Subject {
	return record.Subject{Kind: "ledger", Name: "split", Digest: l.Digest()}
}

// maxLedgerBytes bounds a ledger file: 5,000,000 rows and their uses.
const maxLedgerBytes = 8 << 20

// ParseLedger reads a ledger from JSON; unknown fields and letters are errors.
func ParseLedger(name string, b []byte) (*Ledger, error) {
	l := &Ledger{}
	if err := strictJSON(name, b, maxLedgerBytes, l); err != nil {
		return nil, err
	}
	return l, fault.At(name, l.validate())
}

func (l *Ledger) validate() error {
	if l.Version != LedgerVersion {
		return fault.New(fault.Unsupported, "version", "%d; this program reads %d", l.Version, LedgerVersion)
	}
	if !l.Data.Valid() || !l.Groups.Valid() {
		return fault.New(fault.Malformed, "data", "not a digest")
	}
	if _, err := l.Split.orDefault(); err != nil {
		return err
	}
	for i := range l.Roles {
		if _, ok := letterRole(l.Roles[i]); !ok {
			return fault.New(fault.Malformed, fmt.Sprintf("roles[%d]", i), "%q is not a role", l.Roles[i]).WithHint("the letters are t s c h e and -")
		}
	}
	for i, u := range l.Uses {
		if _, ok := purposes[u.Purpose]; !ok || !slices.Contains(Roles(), u.Role) || u.Count < 1 || u.Count > math.MaxInt32 {
			return fault.New(fault.Malformed, fmt.Sprintf("uses[%d]", i), "%d uses of %q for %q", u.Count, u.Role, u.Purpose)
		}
		if i > 0 && compareUse(l.Uses[i-1], u) >= 0 {
			return fault.New(fault.Malformed, fmt.Sprintf("uses[%d]", i), "the uses are not sorted by role and purpose")
		}
	}
	return nil
}
