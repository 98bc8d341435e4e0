// Package fault is the one error type of Muster: what kind of failure it is,
// where it happened and what to do about it.
//
// Anything that can be reached from a file, a data set, a request or a policy
// returns a *fault.Error. Anything reachable only by wrong Go code panics.
package fault

import (
	"errors"
	"fmt"
)

// Class says what kind of failure an error is. Scripts see it as the exit
// status, HTTP clients as the status code.
type Class string

// The seven classes, plus Internal for errors that carry none.
const (
	Malformed   Class = "malformed"   // the bytes do not follow their format
	Unsupported Class = "unsupported" // well formed, but not something Muster runs
	Mismatch    Class = "mismatch"    // two things that must agree do not (shape, dtype, digest, role)
	Numeric     Class = "numeric"     // NaN, infinity or a value out of range
	Denied      Class = "denied"      // not allowed: key, signature, policy, role
	NotFound    Class = "not found"   // a name, file or digest that does not exist
	Exhausted   Class = "exhausted"   // memory, disk, time, queue or a limit is used up
	Internal    Class = "internal"    // none of the above: a defect in Muster or a failing machine
)

// Error is a failure with a class, a place and a hint.
type Error struct {
	Class Class
	Place string // file and offset, node and value, row and column; "" if unknown
	Hint  string // what the reader can do; "" if nothing is known
	Err   error  // the cause
}

// New returns an error of class c at place with a formatted message (%w is allowed).
func New(c Class, place, format string, args ...any) *Error {
	return &Error{Class: c, Place: place, Err: fmt.Errorf(format, args...)}
}

// WithHint sets the hint and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// At wraps err with an outer place, keeping its class and hint; nil stays nil.
// The places are joined from the outside in: "model.onnx: node \"add\"".
func At(place string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Class: ClassOf(err), Place: place, Err: err}
	var in *Error
	if errors.As(err, &in) {
		e.Hint = in.Hint
	}
	return e
}

func (e *Error) Error() string {
	if e.Place == "" {
		return e.Err.Error()
	}
	return e.Place + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of the outermost *Error in err's chain, Internal if there is none.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Internal
}

// HintOf returns the first hint in err's tree, or "".
func HintOf(err error) string {
	if e, ok := err.(*Error); ok && e.Hint != "" {
		return e.Hint
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		return HintOf(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			if h := HintOf(e); h != "" {
				return h
			}
		}
	}
	return ""
}

// exitCodes are the process exit statuses by class; 1 is left for Go panics and 2 for usage.
var exitCodes = map[Class]int{
	Malformed: 3, Unsupported: 4, Mismatch: 5, Numeric: 6, Denied: 7, NotFound: 8, Exhausted: 9, Internal: 1,
}

// ExitCode returns the process exit status for err; 0 for nil.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	return exitCodes[ClassOf(err)]
}
