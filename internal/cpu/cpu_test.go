package cpu

import (
	"testing"

	"muster/fault"
)

func TestFromEnv(t *testing.T) {
	for _, c := range []struct {
		value string
		class fault.Class // "": accepted
		tier  Tier
	}{{"", "", Best()}, {"ref", "", Ref}, {Best().String(), "", Best()}, {"sse", fault.Malformed, Ref}, {"AVX2", fault.Malformed, Ref}, {"avx512 ", fault.Malformed, Ref}} {
		t.Setenv("MUSTER_KERNEL", c.value)
		tier, err := fromEnv()
		if tier != c.tier || (err != nil) != (c.class != "") || err != nil && (fault.ClassOf(err) != c.class || fault.HintOf(err) == "") {
			t.Errorf("MUSTER_KERNEL=%q: %s, %v", c.value, tier, err)
		}
		if e := Init(); (e != nil) != (err != nil) {
			t.Errorf("MUSTER_KERNEL=%q: Init says %v", c.value, e)
		}
	}
	if Best() < AVX512 {
		t.Setenv("MUSTER_KERNEL", "avx512")
		if tier, err := fromEnv(); tier != Ref || fault.ClassOf(err) != fault.Unsupported {
			t.Errorf("a tier that is not there: %s, %v", tier, err)
		}
	}
}

func TestForce(t *testing.T) {
	before := Active()
	restore := Force(Ref)
	if Active() != Ref {
		t.Errorf("forced ref, active %s", Active())
	}
	restore()
	if Active() != before {
		t.Errorf("restored %s, want %s", Active(), before)
	}
	if Best() == AVX512 {
		return // every tier can be forced here
	}
	defer func() {
		if recover() == nil {
			t.Error("a tier above the best was forced")
		}
	}()
	Force(Best() + 1)
}
