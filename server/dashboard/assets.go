package dashboard

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
)

//go:embed templates assets/dist assets/vendor examples openapi.json
var embedded embed.FS

// assets are the templates and the files that pages load. In development they
// are read again for every request.
type assets struct {
	fsys fs.FS
	dev  bool
	tmpl *template.Template
	// files are what pages load. Their tags are part of their addresses, so that
	// they can be kept for good.
	files map[string]*packedFile
}

const distFolder = "assets/dist"

func loadAssets(dev string) (*assets, error) {
	a := &assets{fsys: embedded, dev: dev != ""}
	if a.dev {
		a.fsys = os.DirFS(dev)
	}
	if err := a.load(); err != nil {
		return nil, fmt.Errorf("loading the dashboard's templates and assets: %w", err)
	}
	return a, nil
}

func (a *assets) load() error {
	a.files = map[string]*packedFile{}
	files, err := fs.ReadDir(a.fsys, distFolder)
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := fs.ReadFile(a.fsys, path.Join(distFolder, f.Name()))
		if err != nil {
			return err
		}
		a.files[f.Name()] = pack(b)
	}
	a.tmpl, err = template.New("").Funcs(template.FuncMap{
		"asset": func(name string) (string, error) {
			f, ok := a.files[name]
			if !ok {
				return "", fmt.Errorf("there is no asset %s", name)
			}
			return "/assets/" + name + "?v=" + f.version(), nil
		},
		"code": func(id, title, text string) code { return code{id, title, text} },
	}).ParseFS(a.fsys, "templates/*.html")
	return err
}

// templates gives the parsed templates, from disk if in development.
func (a *assets) templates() (*template.Template, error) {
	if !a.dev {
		return a.tmpl, nil
	}
	fresh := &assets{fsys: a.fsys}
	if err := fresh.load(); err != nil {
		return nil, err
	}
	return fresh.tmpl, nil
}

func (a *assets) read(name string) ([]byte, error) { return fs.ReadFile(a.fsys, name) }

func (d *Dashboard) asset(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	f, ok := d.assets.files[name]
	if d.assets.dev {
		b, err := d.assets.read(path.Join(distFolder, name))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || strings.Contains(name, "/") {
			return d.missing(w, r)
		}
		if err != nil {
			return err
		}
		f, ok = pack(b), true
	}
	if !ok {
		return d.missing(w, r)
	}
	cacheControl := "no-cache"
	if !d.assets.dev && r.URL.Query().Get("v") == f.version() {
		cacheControl = "public, max-age=31536000, immutable"
	}
	f.send(w, r, mime.TypeByExtension(path.Ext(name)), cacheControl)
	return nil
}
