// Command bench measures Muster beside the peers and writes docs/performance.md.
//
//	go run ./bench               everything: all rows, several rounds, the document
//	go run ./bench -quick        fewer rounds, shorter; prints, writes nothing
//	go run ./bench -only 'bert'  rows whose name matches; prints, writes nothing
//	go run ./bench agree         every model file against ONNX Runtime
//
// bench/setup makes the peers' environment first, bench/export.py and bench/fetch the model files. Engines are
// child processes that stay warm and take turns (A-B-A-B); see engine.go for the protocol and rows.go for what is measured.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		serve()
		return
	}
	var o options
	only := flag.String("only", "", "rows or files whose name matches this regular expression")
	flag.BoolVar(&o.quick, "quick", false, "fewer rounds and shorter ones")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds (default 5; 2 with -quick)")
	flag.DurationVar(&o.slice, "slice", 0, "how long an engine runs in one round (default 1s; 200ms with -quick)")
	flag.StringVar(&o.out, "out", "docs/performance.md", "the document")
	flag.IntVar(&o.threads, "threads", 0, "only this number of threads (default: 1 and 2)")
	flag.StringVar(&o.lock, "lock", "", "a file that is locked while a row is measured: several runs on one machine take turns")
	flag.BoolVar(&o.profile, "profile", false, "print where Muster's time goes, by operator (the clocks slow small operators down)")
	agreeing := len(os.Args) > 1 && os.Args[1] == "agree"
	if agreeing {
		os.Args = append(os.Args[:1], os.Args[2:]...)
	}
	flag.Parse()
	o.defaults()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		o.all = *only == "" && !o.quick && !o.profile
		if agreeing {
			err = agree(&o)
		} else {
			err = measure(&o)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the settings of a run of the driver.
type options struct {
	quick, all bool
	profile    bool
	lock       string
	only       *regexp.Regexp
	rounds     int
	slice      time.Duration
	threads    int
	out        string
}

func (o *options) defaults() {
	rounds, slice := 5, time.Second
	if o.quick {
		rounds, slice = 2, 200*time.Millisecond
	}
	if o.rounds == 0 {
		o.rounds = rounds
	}
	if o.slice == 0 {
		o.slice = slice
	}
}
