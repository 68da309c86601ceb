package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddy-evergreen/evergreen/server/dataset"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
	"github.com/caddy-evergreen/evergreen/wire"
)

const datasetAbout = `Usage: evergreen dataset build  [--config FILE] [--data FOLDER] [--again --why TEXT]
       evergreen dataset verify [--key KEY] FOLDER
       evergreen dataset mirror [--key KEY] URL FOLDER

The published data set: hourly and daily sums as Parquet and CSV, in which
nobody can be found again, with a signed manifest.

build   publishes what is complete. A running ` + "`evergreen serve`" + ` does that by
        itself, if the configuration says "dataset": {"publish": true}; stop it
        first. --again publishes everything anew, after the privacy rule has
        changed.
verify  checks a folder: signature, sizes, hashes, rows.
mirror  copies a data set, or what is new in it. The copy is a folder of files,
        which any web server can serve.

KEY is the line in the data set's key.pub, or the name of such a file; get it
from somewhere else than the data set itself. Without it, verify takes the
folder's own, and proves only that nothing was damaged.`

func datasetCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("dataset", datasetAbout, stderr)
	file := fs.String("config", "", "configuration `FILE` of the service")
	data := fs.String("data", "", "the service's data `FOLDER`")
	again := fs.Bool("again", false, "publish everything anew")
	why := fs.String("why", "", "the reason, a `TEXT` for whoever has the former files")
	key := fs.String("key", "", "the data set's public `KEY`, or a file with it")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	switch {
	case len(rest) == 1 && rest[0] == "build":
		return buildDataset(ctx, *file, *data, *again, *why, stdout, stderr)
	case len(rest) == 2 && rest[0] == "verify":
		return verifyDataset(ctx, rest[1], *key, stdout)
	case len(rest) == 3 && rest[0] == "mirror":
		return mirrorDataset(ctx, rest[1], rest[2], *key, stdout, stderr)
	}
	return fmt.Errorf("dataset takes build, verify FOLDER or mirror URL FOLDER: %w", errUsage)
}

func minisignKey(s string) (ed25519.PublicKey, error) {
	if s == "" {
		return nil, nil
	}
	if b, err := os.ReadFile(s); err == nil {
		s = string(b)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	key, err := dataset.ParsePublicKey(s)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	return key, nil
}

func verifyDataset(ctx context.Context, folder, keyText string, stdout io.Writer) error {
	key, err := minisignKey(keyText)
	if err != nil {
		return err
	}
	m, err := dataset.Verify(ctx, os.DirFS(folder), key)
	if err != nil {
		return err
	}
	by := "signed by the key that was given"
	if key == nil {
		by = "signed by its own key.pub (give --key to know whose it is)"
	}
	fmt.Fprintf(stdout, "%d files of %d days, made %s: complete, and %s\n", len(m.Files), len(m.Days), m.Generated.Format("2006-01-02 15:04 MST"), by)
	return nil
}

func mirrorDataset(ctx context.Context, url, folder, keyText string, stdout, stderr io.Writer) error {
	key, err := minisignKey(keyText)
	if err != nil {
		return err
	}
	if key == nil {
		return fmt.Errorf("a mirror needs the data set's key: give --key: %w", errUsage)
	}
	fetched, size := 0, int64(0)
	mirror := dataset.Mirror{URL: url, Folder: folder, Key: key, Progress: func(f dataset.File, done, all int) {
		fetched++
		size += f.Size
		fmt.Fprintf(stderr, "%d of %d: %s\n", done, all, f.Path)
	}}
	m, err := mirror.Copy(ctx)
	if err != nil {
		return fmt.Errorf("%w (what was fetched is kept: run it again to go on)", err)
	}
	fmt.Fprintf(stdout, "%s has all %d files; %d were new (%d bytes)\n", folder, len(m.Files), fetched, size)
	return nil
}

func buildDataset(ctx context.Context, file, data string, again bool, why string, stdout, stderr io.Writer) error {
	config, err := readConfig(file)
	if err != nil {
		return err
	}
	if data != "" {
		config.Data = data
	}
	if err := config.complete(); err != nil {
		return err
	}
	timing, err := wire.TimingFromEnv(os.Getenv)
	if err != nil {
		return err
	}
	if _, err := os.Stat(config.Data); err != nil {
		return fmt.Errorf("there is no data folder: %w (name the service's with --data or --config)", err)
	}
	store, err := duckdb.Open(filepath.Join(config.Data, storeFile), duckdb.Options{Memory: config.Store.MemoryMiB << 20, Threads: config.Store.Threads})
	if err != nil {
		return fmt.Errorf("%w (is `evergreen serve` running? It publishes by itself)", err)
	}
	defer store.Close()
	c, err := datasetConfig(config, timing, store, slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		return err
	}
	open := dataset.Open
	if again {
		open = dataset.OpenAgain
	}
	p, err := open(c)
	if err != nil {
		return err
	}
	n := 0
	if again {
		n, err = p.Again(ctx, why)
	}
	if err == nil {
		var more int
		more, err = p.Publish(ctx)
		n += more
	}
	if err := errors.Join(err, p.Close()); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d files were written to %s\n", n, c.Folder)
	return nil
}

// datasetConfig is what a service publishes, below its data folder.
func datasetConfig(config Config, timing wire.Timing, store dataset.Source, log *slog.Logger) (dataset.Config, error) {
	key, err := datasetKey(filepath.Join(config.Data, "dataset.key"))
	if err != nil {
		return dataset.Config{}, err
	}
	rule := dataset.Rule(config.Privacy)
	if rule.MinInstances == 0 {
		rule = dataset.Public // the service's own pages hide nothing; what is published does
	}
	if rule.MaxShare == 0 {
		rule.MaxShare = 1
	}
	simulated, err := config.simulated()
	if err != nil {
		return dataset.Config{}, err
	}
	return dataset.Config{
		Simulated: simulated,
		Store:     store, Folder: filepath.Join(config.Data, "dataset", "public"), State: filepath.Join(config.Data, "dataset", "state"),
		Key: key, Rule: rule, Window: timing.Window, Delay: config.Dataset.Delay.Duration,
		Name: config.Name, Service: config.Updates.URL, Licence: config.Dataset.Licence, Attribution: config.Dataset.Attribution, Logger: log,
	}, nil
}

// datasetKey reads the key that the data set is signed with, or makes it.
func datasetKey(name string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		seed := make([]byte, ed25519.SeedSize)
		if _, err := rand.Read(seed); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, []byte(hex.EncodeToString(seed)+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("making the data set's key: %w", err)
		}
		return ed25519.NewKeyFromSeed(seed), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the data set's key: %w", err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is no key: it should be 64 hexadecimal digits; restore it, or remove it to sign with a new one", name)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// datasetFiles serves what is published, for anyone's page to read. Files are
// never compressed on the way: readers of Parquet ask for ranges.
func datasetFiles(folder string) http.Handler {
	published := os.DirFS(folder)
	files := http.StripPrefix("/dataset/", http.FileServerFS(published))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r) // no listings: the manifest has them
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, ETag")
		h.Set("Cache-Control", "public, max-age=60")
		h.Set("X-Content-Type-Options", "nosniff")
		// A file is replaced as a whole by a newer one: that tells its versions apart.
		if f, err := fs.Stat(published, strings.TrimPrefix(r.URL.Path, "/dataset/")); err == nil {
			h.Set("ETag", fmt.Sprintf(`"%x-%x"`, f.ModTime().UnixNano(), f.Size()))
		}
		switch {
		case strings.HasSuffix(r.URL.Path, ".parquet"):
			h.Set("Content-Type", "application/vnd.apache.parquet")
		case strings.HasSuffix(r.URL.Path, ".zst"):
			h.Set("Content-Type", "application/zstd")
		case strings.HasSuffix(r.URL.Path, ".json"):
			h.Set("Content-Type", wire.TypeJSON)
		default:
			h.Set("Content-Type", "text/plain; charset=utf-8")
		}
		files.ServeHTTP(w, r)
	})
}
