package build

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An Answer tells how far a build is and, when it is done, what it is.
type Answer struct {
	wire.BuildProgress
	Spec   artifact.Spec   `json:"spec"`
	SHA256 string          `json:"sha256,omitempty"` // of the executable, hexadecimal
	Size   int64           `json:"size,omitempty"`   // bytes
	List   *wire.BuildList `json:"list,omitempty"`
	// Paths below the service's URL.
	Self        string `json:"self"`
	Events      string `json:"events"`
	Download    string `json:"download,omitempty"`
	Attestation string `json:"attestation,omitempty"`
}

func (f *Front) answer(r *http.Request, id string) (*Answer, error) {
	ctx := r.Context()
	p, err := f.cfg.Queue.Progress(ctx, id)
	if err != nil {
		return nil, err
	}
	spec, err := f.cfg.Queue.Spec(ctx, id)
	if err != nil {
		return nil, err
	}
	self := "/api/v1/builds/" + url.PathEscape(id)
	a := &Answer{BuildProgress: p, Spec: spec, Self: self, Events: self + "/events"}
	if state(p.State) != done {
		return a, nil
	}
	b, err := f.cfg.Queue.Build(ctx, id)
	if errors.Is(err, ErrNotBuilt) {
		return f.answer(r, id) // it was evicted in this moment
	}
	if err != nil {
		return nil, err
	}
	a.SHA256, a.Size, a.List = b.SHA256, b.Size, &b.List
	a.Download, a.Attestation = self+"/download", f.cfg.Attestation(*b)
	return a, nil
}

func (f *Front) postBuild(w http.ResponseWriter, r *http.Request) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	var req Request
	err := d.Decode(&req)
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("there is something after the JSON object")
		}
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return err
	} else if err != nil {
		return refuse(http.StatusBadRequest, "the request is not understood", `%v. Send JSON such as {"os": "linux", "arch": "amd64", "plugins": ["github.com/caddy-dns/cloudflare@v0.2.1"]}.`, err)
	}
	_, p, err := f.ask(r, req)
	if err != nil {
		return err
	}
	a, err := f.answer(r, p.ID)
	if err != nil {
		return err
	}
	w.Header().Set("Location", a.Self)
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusAccepted
	if state(a.State).final() {
		status = http.StatusOK
	}
	answer.JSON(w, wire.TypeJSON, status, a)
	return nil
}

func (f *Front) getBuild(w http.ResponseWriter, r *http.Request) error {
	a, err := f.answer(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	answer.JSON(w, wire.TypeJSON, http.StatusOK, a)
	return nil
}

// Offers are what can be asked for.
type Offers struct {
	Systems   []wire.System `json:"systems"`
	Plugins   []Plugin      `json:"plugins"`    // registered
	Any       bool          `json:"any_plugin"` // and all others
	Telemetry bool          `json:"telemetry"`  // builds with our module are made
	Isolation string        `json:"isolation"`  // of builds: "namespaces" or "limits"
	Counts    Counts        `json:"last_30_days"`
}

func (f *Front) offer(r *http.Request) (*Offers, error) {
	c, err := f.cfg.Queue.Counts(r.Context(), f.cfg.Queue.cfg.Now().AddDate(0, 0, -30))
	if err != nil {
		return nil, err
	}
	return &Offers{
		Systems: Systems, Plugins: append([]Plugin{}, f.cfg.Plugins...), Any: f.cfg.Queue.cfg.Registered == nil, Telemetry: f.cfg.Own != "",
		Isolation: string(f.cfg.Queue.cfg.Maker.Isolation()), Counts: c,
	}, nil
}

func (f *Front) offers(w http.ResponseWriter, r *http.Request) error {
	o, err := f.offer(r)
	if err != nil {
		return err
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	answer.JSON(w, wire.TypeJSON, http.StatusOK, o)
	return nil
}

func (f *Front) operator(r *http.Request) error {
	if f.cfg.Operator(r) {
		return nil
	}
	return refuse(http.StatusForbidden, "this is the operator's to do", "Others may have asked for the same build. Send an operator's token.")
}

func (f *Front) deleteBuild(w http.ResponseWriter, r *http.Request) error {
	if err := f.operator(r); err != nil {
		return err
	}
	if err := f.cfg.Queue.Cancel(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return f.getBuild(w, r)
}

func (f *Front) retryBuild(w http.ResponseWriter, r *http.Request) error {
	if err := f.operator(r); err != nil {
		return err
	}
	if err := f.cfg.Queue.Retry(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return f.getBuild(w, r)
}

// events tells each change as it comes, and ends with the build.
func (f *Front) events(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if _, err := f.cfg.Queue.Progress(r.Context(), id); err != nil {
		return err
	}
	if err := takeTime(w); err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("Access-Control-Allow-Origin", "*")
	// What fails from here on ends the connection: the browser asks again.
	ctx, stop := f.wait(r)
	defer stop()
	_ = f.cfg.Queue.Watch(ctx, id, func(wire.BuildProgress) error {
		a, err := f.answer(r, id)
		if err != nil {
			return err
		}
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "event: progress\ndata: %s\n\n", b); err != nil {
			return err
		}
		return rc.Flush()
	})
	return nil
}

func (f *Front) download(w http.ResponseWriter, r *http.Request) error {
	return f.send(w, r, r.PathValue("id"))
}

// maxConnected is how long a request may wait, and its answer be read.
const maxConnected = time.Hour

// takeTime lifts the server's time limits from a request that waits for a
// build, or whose reader is slow. The limit for reading counts, too: when it
// passes, the server takes the asker for gone.
func takeTime(w http.ResponseWriter) error {
	rc, until := http.NewResponseController(w), time.Now().Add(maxConnected)
	for _, set := range []func(time.Time) error{rc.SetReadDeadline, rc.SetWriteDeadline} {
		if err := set(until); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("taking time for a request: %w", err)
		}
	}
	return nil
}

// send gives out an executable, or a range of it.
func (f *Front) send(w http.ResponseWriter, r *http.Request, id string) error {
	if err := takeTime(w); err != nil {
		return err
	}
	ctx, stop := f.wait(r)
	defer stop()
	b, file, err := f.cfg.Queue.Open(ctx, id)
	if err != nil {
		return ended(ctx, err)
	}
	defer file.Close()
	if r.Method == http.MethodGet && (r.Header.Get("Range") == "" || r.Header.Get("Range") == "bytes=0-") {
		if err := f.cfg.Queue.Handed(r.Context(), b.Spec); err != nil {
			return err
		}
	}
	if err := f.describe(w.Header(), b); err != nil {
		return err
	}
	http.ServeContent(w, r, "", time.Time{}, file)
	return nil
}

// describe says what is sent, and where its attestation is.
func (f *Front) describe(h http.Header, b *artifact.Build) error {
	sum, err := hex.DecodeString(b.SHA256)
	if err != nil {
		return fmt.Errorf("describing an executable: %w", err)
	}
	id := b.Spec.ID()
	name := "caddy_" + b.Spec.System.OS + "_" + b.Spec.System.Arch + b.Spec.System.Variant + "_custom" + exeSuffix(b.Spec.System.OS)
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("ETag", `"`+b.SHA256+`"`)
	h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	h.Set("Evergreen-Build", id)
	h.Set("Link", "</api/v1/builds/"+id+">; rel=\"describedby\"")
	if at := f.cfg.Attestation(*b); at != "" {
		h.Set("Evergreen-Attestation", at)
		h.Add("Link", "<"+at+">; rel=\"attestation\"")
	}
	return nil
}

// compatible is Caddy's own download API: os, arch, arm, and p for each
// plugin, with or without @version. It waits for the build, and sends it.
// Beyond that API it knows caddy, go, and telemetry=off. It does not need
// idempotency, since equal requests are one build.
func (f *Front) compatible(w http.ResponseWriter, r *http.Request) error {
	err := f.waitAndSend(w, r)
	if err == nil || r.Context().Err() != nil {
		return nil
	}
	ref := f.refusal(err)
	if ref.Status == http.StatusTooManyRequests || ref.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "60")
	}
	w.Header().Set("Cache-Control", "no-store")
	// Caddy's `upgrade` command reads the message from error.
	var body struct {
		wire.Problem
		StatusCode int `json:"status_code"`
		Error      struct {
			Message string `json:"message"`
			ID      string `json:"id"`
		} `json:"error"`
	}
	body.Problem, body.StatusCode = ref.Problem, ref.Status
	body.Error.Message, body.Error.ID = ref.Detail, "evergreen"
	answer.JSON(w, wire.TypeProblem, ref.Status, body)
	return nil
}

func (f *Front) waitAndSend(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	with := q.Get("telemetry") != "off"
	req := Request{
		OS: q.Get("os"), Arch: q.Get("arch"), Arm: q.Get("arm"), Plugins: q["p"], Caddy: q.Get("caddy"), Go: q.Get("go"), Telemetry: &with,
	}
	_, p, err := f.ask(r, req)
	if err != nil {
		return err
	}
	if err := takeTime(w); err != nil {
		return err
	}
	ctx, stop := f.wait(r)
	defer stop()
	if _, err := f.cfg.Queue.Wait(ctx, p.ID); err != nil {
		return ended(ctx, err)
	}
	return f.send(w, r, p.ID)
}
