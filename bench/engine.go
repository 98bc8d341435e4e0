package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// task is what an engine is told, one JSON object a line; the fields that matter depend on Cmd and Kind.
type task struct {
	Cmd     string            `json:"cmd"`  // "open", "run" or "close"
	Kind    string            `json:"kind"` // "onnx", "train"; of torch also "mm", "onednn", "int8"
	Threads int               `json:"threads"`
	File    string            `json:"file,omitempty"`   // onnx: the model
	Inputs  map[string]string `json:"inputs,omitempty"` // .npy files by input name
	Out     string            `json:"out,omitempty"`    // folder for outputs
	Shape   []int             `json:"shape,omitempty"`  // products: M, K, N
	Packed  bool              `json:"packed,omitempty"` // products: the second operand is packed before
	Model   string            `json:"model,omitempty"`  // train: "gpt" or "resnet18"
	Config  *trainConfig      `json:"config,omitempty"`
	Weights string            `json:"weights,omitempty"` // train: folder with the initial parameters
	Steps   int               `json:"steps,omitempty"`   // train: steps whose losses are compared
	Nanos   int64             `json:"nanos,omitempty"`   // run: at least this long,
	Least   int               `json:"least,omitempty"`   // and at least this often
	Profile bool              `json:"profile,omitempty"` // open: measure every node, "run" then tells where the time went
}

// reply is what an engine answers.
type reply struct {
	Error    string   `json:"error,omitempty"`
	Class    string   `json:"class,omitempty"` // of Muster's errors
	Load     float64  `json:"load"`            // nanoseconds to read the file and get ready
	First    float64  `json:"first"`           // nanoseconds of the first run
	Outputs  []string `json:"outputs"`
	Nodes    int      `json:"nodes"`  // Muster: nodes of the plan
	Flops    float64  `json:"flops"`  // Muster: of one run
	IntFlops float64  `json:"iflops"` // Muster: those of them on integer kernels
	Arena    int64    `json:"arena"`
	Allocs   float64  `json:"allocs"` // Muster: allocations of one run
	Slow     []string `json:"slow"`   // Muster: operators without a kernel
	Wall     []int64  `json:"wall"`
	CPU      int64    `json:"cpu"` // mean of one run, all threads: the clock of a process lags for threads that run elsewhere
	Profile  []string `json:"profile,omitempty"`
	Resident int64    `json:"resident"` // largest resident size of the process so far
}

// engine is a child process that stays warm.
type engine struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	dead bool
}

// cache is the folder of the peers' environment and the models.
func cache() string {
	if c := os.Getenv("MUSTER_BENCH_CACHE"); c != "" {
		return c
	}
	return filepath.Join("bench", ".cache")
}

// start runs an engine: "muster" is this program, the others are peer.py.
func start(name string) (*engine, error) {
	var cmd *exec.Cmd
	if name == "muster" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd = exec.Command(self, "engine")
	} else {
		cmd = exec.Command(filepath.Join(cache(), "venv", "bin", "python"), filepath.Join("bench", "peer.py"), name)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is for the driver
	cmd.Stderr = nil
	if os.Getenv("MUSTER_BENCH_STDERR") != "" {
		cmd.Stderr = os.Stderr
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("engine %s: %w (bench/setup makes the peers' environment)", name, err)
	}
	return &engine{name: name, cmd: cmd, in: in, out: bufio.NewReaderSize(out, 1<<20)}, nil
}

// ask sends t and waits for the answer. An engine that dies or takes longer than limit is done with.
func (e *engine) ask(t task, limit time.Duration) reply {
	if e.dead {
		return reply{Error: e.name + " has died", Class: "dead"}
	}
	b, err := json.Marshal(t)
	if err != nil {
		return reply{Error: err.Error()}
	}
	alarm := time.AfterFunc(limit, func() { e.cmd.Process.Kill() })
	defer alarm.Stop()
	if _, err := e.in.Write(append(b, '\n')); err != nil {
		e.dead = true
		return reply{Error: e.name + " is gone", Class: "dead"}
	}
	line, err := e.out.ReadBytes('\n')
	var r reply
	if err != nil || json.Unmarshal(line, &r) != nil {
		e.dead = true
		return reply{Error: fmt.Sprintf("%s died or took more than %s", e.name, limit), Class: "dead"}
	}
	return r
}

func (e *engine) stop() {
	e.in.Close()
	if e.dead {
		e.cmd.Process.Kill()
	}
	e.cmd.Wait()
}
