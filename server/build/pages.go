package build

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

//go:embed web
var webFiles embed.FS

// The pages are complete without a script; with it, progress shows itself.
// They share the dashboard's style sheet.
type frontPages struct {
	tmpl  *template.Template
	files fs.FS
}

func loadPages() (*frontPages, error) {
	files, err := fs.Sub(webFiles, "web")
	if err != nil {
		return nil, err
	}
	t, err := template.New("").Funcs(template.FuncMap{"mib": func(n int64) int64 { return n >> 20 }}).ParseFS(files, "*.html")
	if err != nil {
		return nil, err
	}
	return &frontPages{tmpl: t, files: files}, nil
}

const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func (p *frontPages) file(name, contentType string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		b, err := fs.ReadFile(p.files, name)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		w.Write(b) // an error means that nobody is listening
		return nil
	}
}

// A buildPageView is what the templates are given.
type buildPageView struct {
	Name    string
	Title   string
	Refresh bool // by the browser, where there is no script
	Form    *formView
	Build   *Answer
	Trouble *wire.Problem
}

type formView struct {
	*Offers
	Caddy  string // what was entered
	Others string
	System string
	Chosen map[string]bool
	Out    bool
}

func (f *Front) page(w http.ResponseWriter, status int, name string, v buildPageView) error {
	v.Name = f.cfg.Name
	var b bytes.Buffer
	if err := f.pages.tmpl.ExecuteTemplate(&b, name, v); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // an error means that nobody is listening
	return nil
}

func (f *Front) problemPage(w http.ResponseWriter, _ *http.Request, r *refusal) {
	title := strings.ToUpper(r.Title[:1]) + r.Title[1:]
	if err := f.page(w, r.Status, "trouble.html", buildPageView{Title: title, Trouble: &r.Problem}); err != nil {
		f.cfg.Logger.Error("rendering a message", "error", err)
	}
}

func (f *Front) formPage(w http.ResponseWriter, r *http.Request) error {
	return f.form(w, r, http.StatusOK, formView{System: "linux/amd64"}, nil)
}

func (f *Front) form(w http.ResponseWriter, r *http.Request, status int, v formView, trouble *wire.Problem) error {
	o, err := f.offer(r)
	if err != nil {
		return err
	}
	v.Offers = o
	return f.page(w, status, "form.html", buildPageView{Title: "Build a Caddy", Form: &v, Trouble: trouble})
}

// formPost asks for what was chosen. What is wrong with it is said beside the form.
func (f *Front) formPost(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return refuse(http.StatusBadRequest, "the form is not understood", "%v", err)
	}
	v := formView{
		Caddy: strings.TrimSpace(r.PostForm.Get("caddy")), Others: r.PostForm.Get("others"), System: r.PostForm.Get("system"),
		Chosen: map[string]bool{}, Out: r.PostForm.Get("telemetry") != "in",
	}
	system := append(strings.Split(v.System, "/"), "", "", "")
	in := !v.Out
	req := Request{Caddy: v.Caddy, OS: system[0], Arch: system[1], Arm: system[2], Telemetry: &in}
	for _, p := range r.PostForm["p"] {
		v.Chosen[p] = true
		req.Plugins = append(req.Plugins, p)
	}
	for _, p := range strings.Fields(v.Others) {
		if !slices.Contains(req.Plugins, p) {
			req.Plugins = append(req.Plugins, p)
		}
	}
	_, p, err := f.ask(r, req)
	if err != nil {
		ref := f.refusal(err)
		return f.form(w, r, ref.Status, v, &ref.Problem)
	}
	http.Redirect(w, r, "/build/"+url.PathEscape(p.ID), http.StatusSeeOther)
	return nil
}

func (f *Front) buildPage(w http.ResponseWriter, r *http.Request) error {
	return f.buildView(w, r, "build.html")
}

// statePart is the part of the page that changes, for the script.
func (f *Front) statePart(w http.ResponseWriter, r *http.Request) error {
	return f.buildView(w, r, "state")
}

func (f *Front) buildView(w http.ResponseWriter, r *http.Request, name string) error {
	a, err := f.answer(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	return f.page(w, http.StatusOK, name, buildPageView{Title: "Caddy " + a.Spec.Caddy, Build: a, Refresh: !state(a.State).final()})
}
