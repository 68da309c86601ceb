// Package render draws charts on the server.
//
// In comes a Job: what a chart is, its answer from the dashboard's API, a theme
// and a size. Out goes an SVG. It is drawn by the very code that draws charts in
// the pages (dashboard/web/src/option.ts with Apache ECharts), which runs here in
// goja, a JavaScript engine in Go.
//
// # Guarantees
//
// The same Job gives the same bytes, in every process.
//
// The SVG is self-contained: it has no script and refers to nothing.
//
// A drawing can't hold up the server: at most Config.Runtimes run at once, at
// most Config.Waiting wait for them (more get ErrBusy), each is ended after
// Config.Timeout, and what they are made of is at most MaxInput bytes. An engine
// in which anything went wrong is thrown away, and so is each after a number of
// drawings, so that nothing piles up in it. The engine can reach neither files
// nor the network nor the clock: it has ECMAScript, and nothing else.
package render

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"
)

// drawing is web/src/render.ts, bundled.
//
//go:embed dist/render.js
var drawing string

// A Job is a picture to be drawn.
type Job struct {
	Kind   string          `json:"kind"`   // as web/src/spec.ts names them
	Spec   json.RawMessage `json:"spec"`   // a Spec of web/src/spec.ts
	Answer json.RawMessage `json:"answer"` // an Answer of web/src/answer.ts
	Theme  string          `json:"theme"`  // Light or Dark
	Width  int             `json:"width"`  // pixels
	Height int             `json:"height"`
	// Frame is what is around a picture that stands for itself; nil leaves the
	// chart alone, on no background.
	Frame *Frame `json:"frame,omitempty"`
	// Reason is what is said in place of a chart if the answer is empty.
	Reason string `json:"reason,omitempty"`
}

// A Frame is a picture's title, what the chart is of, and where it is from.
type Frame struct {
	Title  string `json:"title"`
	Note   string `json:"note,omitempty"`
	Source string `json:"source,omitempty"`
}

// Themes.
const (
	Light = "light"
	Dark  = "dark"
)

// Bounds of jobs.
const (
	MinSize  = 120 // pixels
	MaxSize  = 2400
	MaxInput = 8 << 20 // bytes of a job's JSON
)

// drawings is how many one engine makes before it is thrown away.
const drawings = 500

// ErrBusy is given where too many drawings wait already: try again in a second.
var ErrBusy = errors.New("too many pictures are being drawn: try again in a second")

// Config bounds a Renderer. The zero value is for a server.
type Config struct {
	Runtimes int           // drawings at once; 0 means as many as processors
	Waiting  int           // drawings that wait; 0 means 64
	Timeout  time.Duration // of one drawing; 0 means 20 s
}

// A Renderer draws. It may be used concurrently. Engines are made as they are
// needed, each takes some 15 MB of memory.
type Renderer struct {
	cfg     Config
	running chan struct{}
	waiting atomic.Int64
	program func() (*goja.Program, error)

	mu   sync.Mutex
	idle []*engine
}

// An engine draws one picture at a time.
type engine struct {
	vm   *goja.Runtime
	draw goja.Callable
	made int
}

// New makes a Renderer. It starts nothing.
func New(cfg Config) *Renderer {
	if cfg.Runtimes <= 0 {
		cfg.Runtimes = runtime.GOMAXPROCS(0)
	}
	if cfg.Waiting <= 0 {
		cfg.Waiting = 64
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 20 * time.Second
	}
	return &Renderer{
		cfg: cfg, running: make(chan struct{}, cfg.Runtimes),
		program: sync.OnceValues(func() (*goja.Program, error) { return goja.Compile("render.js", drawing, true) }),
	}
}

// SVG draws j. It gives ErrBusy where too many wait, ctx's error if that ends
// first, and else an error of the job's.
func (r *Renderer) SVG(ctx context.Context, j Job) ([]byte, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	job, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("a job's spec or answer is no JSON: %w", err)
	}
	if len(job) > MaxInput {
		return nil, fmt.Errorf("a picture of %d bytes of numbers is too much: %d is the most; ask for a shorter range or a coarser grain", len(job), MaxInput)
	}
	if err := r.wait(ctx); err != nil {
		return nil, err
	}
	defer func() { <-r.running }()
	e, err := r.engine()
	if err != nil {
		return nil, err
	}
	svg, err := e.run(ctx, string(job), r.cfg.Timeout)
	if err != nil {
		return nil, fmt.Errorf("drawing: %w", err)
	}
	if e.made++; e.made < drawings {
		r.mu.Lock()
		r.idle = append(r.idle, e)
		r.mu.Unlock()
	}
	return svg, nil
}

func (j *Job) check() error {
	if j.Theme != Light && j.Theme != Dark {
		return fmt.Errorf("theme is %.20q: there are %s and %s", j.Theme, Light, Dark)
	}
	for _, n := range []int{j.Width, j.Height} {
		if n < MinSize || n > MaxSize {
			return fmt.Errorf("a picture of %d × %d pixels: both have to be between %d and %d", j.Width, j.Height, MinSize, MaxSize)
		}
	}
	return nil
}

// wait until one more may run.
func (r *Renderer) wait(ctx context.Context) error {
	select {
	case r.running <- struct{}{}:
		return nil
	default:
	}
	if r.waiting.Add(1) > int64(r.cfg.Waiting) {
		r.waiting.Add(-1)
		return ErrBusy
	}
	defer r.waiting.Add(-1)
	select {
	case r.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// engine gives one that is idle, or makes one.
func (r *Renderer) engine() (*engine, error) {
	r.mu.Lock()
	if n := len(r.idle); n > 0 {
		e := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return e, nil
	}
	r.mu.Unlock()
	p, err := r.program()
	if err != nil {
		return nil, fmt.Errorf("reading the code that draws charts: %w", err)
	}
	vm := goja.New()
	vm.SetMaxCallStackSize(2000)
	if _, err := vm.RunProgram(p); err != nil {
		return nil, fmt.Errorf("starting the code that draws charts: %w", err)
	}
	draw, ok := goja.AssertFunction(vm.Get("evergreenRender"))
	if !ok {
		return nil, errors.New("the code that draws charts has no evergreenRender: build it again with `make web`")
	}
	return &engine{vm: vm, draw: draw}, nil
}

// ErrSlow is of a drawing that was ended.
var ErrSlow = errors.New("took too long; ask for a shorter range or a coarser grain")

// run draws. After an error the engine is not to be used again.
func (e *engine) run(ctx context.Context, job string, timeout time.Duration) (svg []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			svg, err = nil, fmt.Errorf("the engine panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, ErrSlow)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { e.vm.Interrupt(context.Cause(ctx)) })
	v, err := e.draw(goja.Undefined(), e.vm.ToValue(job))
	if !stop() && err == nil {
		err = context.Cause(ctx) // the interruption may reach whoever draws next
	}
	if i := (*goja.InterruptedError)(nil); errors.As(err, &i) {
		if cause, ok := i.Value().(error); ok {
			err = cause
		}
	}
	if err != nil {
		return nil, err
	}
	return []byte(v.String()), nil
}
