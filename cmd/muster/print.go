package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"muster/fault"
)

// printer writes plain lines for people.
type printer struct{ w io.Writer }

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// table prints rows in aligned columns; the first row is the head.
func (p *printer) table(rows [][]string) {
	width := []int{}
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			b.WriteString(c)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-len([]rune(c))+2))
			}
		}
		p.line("  %s", strings.TrimRight(b.String(), " "))
	}
}

// print shows v as one JSON object with --json, and calls text otherwise.
func (a *app) print(v any, text func(p *printer)) error {
	if !a.json {
		text(&printer{a.out})
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.New(fault.Numeric, "", "the result cannot be written as JSON: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "%s\n", b)
	return err
}

// progress is one line that changes in a terminal, and a line every few seconds in a pipe.
type progress struct {
	w     io.Writer
	tty   bool
	off   bool
	last  time.Time
	width int
}

func (a *app) progress() *progress {
	f, ok := a.err.(*os.File)
	return &progress{w: a.err, tty: ok && term.IsTerminal(int(f.Fd())), off: a.quiet || a.json}
}

// show replaces the line; calls that come too fast are dropped unless final.
func (p *progress) show(final bool, format string, args ...any) {
	every := 5 * time.Second
	if p.tty {
		every = 100 * time.Millisecond
	}
	if p.off || !final && time.Since(p.last) < every {
		return
	}
	p.last = time.Now()
	s := fmt.Sprintf(format, args...)
	if !p.tty {
		fmt.Fprintln(p.w, s)
		return
	}
	pad := max(0, p.width-len(s))
	p.width = len(s)
	fmt.Fprintf(p.w, "\r%s%s", s, strings.Repeat(" ", pad))
	if final {
		fmt.Fprintln(p.w)
		p.width = 0
	}
}
