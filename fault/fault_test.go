package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

// TestWrapping: class, cause and hint survive every way of wrapping, and places nest from the outside in.
func TestWrapping(t *testing.T) {
	inner := New(NotFound, `node "add"`, "cannot read: %w", io.EOF).WithHint("look for %s", "it")
	for _, c := range []struct {
		err  error
		text string
	}{
		{inner, `node "add": cannot read: EOF`},
		{At("model.onnx", inner), `model.onnx: node "add": cannot read: EOF`},
		{fmt.Errorf("loading: %w", inner), `loading: node "add": cannot read: EOF`},
		{At("model.onnx", fmt.Errorf("loading: %w", inner)), `model.onnx: loading: node "add": cannot read: EOF`},
		{errors.Join(errors.New("first"), inner), "first\nnode \"add\": cannot read: EOF"},
	} {
		if c.err.Error() != c.text || ClassOf(c.err) != NotFound || HintOf(c.err) != "look for it" || !errors.Is(c.err, io.EOF) {
			t.Errorf("%q (%s, hint %q), want %q", c.err, ClassOf(c.err), HintOf(c.err), c.text)
		}
	}
}

// TestPlain: an error without a class is Internal and has no hint; nil stays nil.
func TestPlain(t *testing.T) {
	if err := At("here", nil); err != nil {
		t.Errorf("At of nil is %v", err)
	}
	e := At("here", io.EOF)
	if ClassOf(e) != Internal || HintOf(e) != "" || ExitCode(e) != 1 || e.Error() != "here: EOF" {
		t.Errorf("%v %s", e, ClassOf(e))
	}
	if New(Numeric, "", "NaN").Error() != "NaN" {
		t.Error("an empty place is printed")
	}
	outer := New(Denied, "a", "b: %w", New(Numeric, "c", "d").WithHint("inner")).WithHint("outer")
	if ClassOf(outer) != Denied || HintOf(outer) != "outer" {
		t.Errorf("the outermost class and hint count: %s, %q", ClassOf(outer), HintOf(outer))
	}
}

// TestExitCodes: success is 0, 2 is left to usage, and no two classes share a status.
func TestExitCodes(t *testing.T) {
	if ExitCode(nil) != 0 {
		t.Error("success is not 0")
	}
	seen := map[int]Class{0: "success", 2: "usage", 10: "a verdict that is not pass"}
	for _, c := range []Class{Malformed, Unsupported, Mismatch, Numeric, Denied, NotFound, Exhausted, Internal} {
		code := ExitCode(New(c, "x", "y"))
		if other, ok := seen[code]; ok {
			t.Errorf("%s and %s both exit with %d", c, other, code)
		}
		seen[code] = c
	}
}
