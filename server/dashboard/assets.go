package dashboard

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
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

//go:embed templates assets/dist openapi.json
var embedded embed.FS

// assets are the templates and the files that pages load. In development they
// are read again for every request.
type assets struct {
	fsys fs.FS
	dev  bool
	tmpl *template.Template
	tags map[string]string // of files: part of their addresses, so that they can be kept for good
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
	a.tags = map[string]string{}
	files, err := fs.ReadDir(a.fsys, distFolder)
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := fs.ReadFile(a.fsys, path.Join(distFolder, f.Name()))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		a.tags[f.Name()] = hex.EncodeToString(sum[:6])
	}
	a.tmpl, err = template.New("").Funcs(template.FuncMap{
		"asset": func(name string) (string, error) {
			tag, ok := a.tags[name]
			if !ok {
				return "", fmt.Errorf("there is no asset %s", name)
			}
			return "/assets/" + name + "?v=" + tag, nil
		},
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
	b, err := d.assets.read(path.Join(distFolder, name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || strings.Contains(name, "/") {
		return d.missing(w, r)
	}
	if err != nil {
		return err
	}
	cacheControl := "no-cache"
	if !d.assets.dev && r.URL.Query().Get("v") == d.assets.tags[name] {
		cacheControl = "public, max-age=31536000, immutable"
	}
	send(w, r, mime.TypeByExtension(path.Ext(name)), b, cacheControl)
	return nil
}
