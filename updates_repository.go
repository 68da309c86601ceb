package evergreen

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-evergreen/evergreen/trust"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Limits of root metadata: each time that keys are replaced, there is one more.
const (
	maxRoot   = 1 << 20 // bytes
	maxRoots  = 1000    // versions
	rootsTime = 2 * time.Minute
)

// repository is a client of the repository of signed executables, with what the
// folder knows of it. A client of nil is http.DefaultClient.
func (u *updates) repository(ctx context.Context, client *http.Client) (*trust.Client, error) {
	p := u.policy.Load()
	url := strings.TrimSuffix(p.Server, "/") + strings.TrimSuffix(wire.PathTUF, "/")
	dir := filepath.Join(u.dir, "tuf")
	root, err := rootMetadata(ctx, p, url, dir)
	if err != nil {
		return nil, err
	}
	c, err := trust.New(trust.Config{Root: root, URL: url, Dir: dir, HTTP: client})
	return c, whyUntrusted(err)
}

// rootMetadata is the root metadata to trust: the operator's file, or what has
// the hash that the build trusts. That is kept in dir, and else it is one of the
// versions that the repository has.
func rootMetadata(ctx context.Context, p *updatesPolicy, url, dir string) ([]byte, error) {
	if p.Root != "" {
		b, err := readSmall(p.Root, maxRoot)
		if err != nil {
			return nil, updater.Passing(updater.CauseSignature, fmt.Errorf("reading the root of trust: %w", err))
		}
		return b, nil
	}
	if p.RootSum == "" {
		return nil, updater.Passing(updater.CauseSignature, errors.New("there is no root of trust: set `updates { root FILE }`"))
	}
	kept := filepath.Join(dir, "pinned.root.json")
	if b, err := readSmall(kept, maxRoot); err == nil && hasSum(b, p.RootSum) {
		return b, nil
	}
	ctx, cancel := context.WithTimeout(ctx, rootsTime)
	defer cancel()
	for version := 1; version <= maxRoots; version++ {
		b, err := fetchRoot(ctx, fmt.Sprintf("%s/%d.root.json", url, version))
		if err != nil {
			return nil, err
		}
		if b == nil {
			break
		}
		if !hasSum(b, p.RootSum) {
			continue
		}
		if err := keepFile(kept, b); err != nil {
			return nil, updater.Passing(updater.CauseStorage, fmt.Errorf("keeping the root of trust: %w", err))
		}
		return b, nil
	}
	return nil, updater.Passing(updater.CauseSignature, fmt.Errorf("%s has no root metadata that this Caddy was built to trust (SHA-256 %s): it is not the service that built it, or lost its keys; set `updates { root FILE }` if you trust it", url, p.RootSum))
}

// fetchRoot is root metadata, which the hash is to prove; nil if there is none.
func fetchRoot(ctx context.Context, url string) ([]byte, error) {
	fail := func(err error) error {
		return updater.Passing(updater.CauseNetwork, fmt.Errorf("fetching root metadata: %w", err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fail(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fail(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusForbidden: // object stores forbid what is not there
		return nil, nil
	default:
		return nil, fail(fmt.Errorf("%s answered %s", url, resp.Status))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxRoot+1))
	if err != nil {
		return nil, fail(err)
	}
	if len(b) > maxRoot {
		return nil, fail(fmt.Errorf("%s has over %d bytes", url, maxRoot))
	}
	return b, nil
}

func hasSum(b []byte, sum string) bool {
	s := sha256.Sum256(b)
	return strings.EqualFold(hex.EncodeToString(s[:]), sum)
}

// readSmall reads a file of at most so many bytes.
func readSmall(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has over %d bytes", name, most)
	}
	return b, err
}

// keepFile makes a file appear whole. What is lost in a power cut is made again,
// so that it need not be durable.
func keepFile(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// fetch writes the verified executable to file: by a delta from the running one
// if there is one, else the whole of it.
func (u *updates) fetch(ctx context.Context, t wire.Target, file string) (updater.Fetched, error) {
	var m meter
	repository, err := u.repository(ctx, &http.Client{Transport: &m})
	if err != nil {
		return updater.Fetched{}, err
	}
	var old *io.SectionReader
	if f, err := openSelf(); err == nil {
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			old = io.NewSectionReader(f, 0, info.Size())
		}
	}
	target, err := repository.Executable(ctx, t, old, file)
	if err != nil {
		return updater.Fetched{}, whyUntrusted(err)
	}
	metadata, err := repository.Saved(target)
	if err != nil {
		return updater.Fetched{}, whyUntrusted(err)
	}
	return updater.Fetched{Metadata: metadata, Bytes: m.bytes.Load(), Method: m.method(t)}, nil
}

// whyUntrusted gives an error of trust its class.
func whyUntrusted(err error) error {
	if err == nil {
		return nil
	}
	cause := updater.CauseNetwork
	switch {
	case errors.Is(err, trust.ErrSignatures), errors.Is(err, trust.ErrExpired), errors.Is(err, trust.ErrRollback),
		errors.Is(err, trust.ErrMalformed), errors.Is(err, trust.ErrNoTarget):
		cause = updater.CauseSignature
	case errors.Is(err, trust.ErrMismatch), errors.Is(err, trust.ErrTooLarge):
		cause = updater.CauseMismatch
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		cause = updater.CauseSpace
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO):
		cause = updater.CauseStorage
	}
	return updater.Passing(cause, err)
}

// discard removes what was downloaded in part of what is no longer wanted.
func (u *updates) discard(t wire.Target) {
	sums := []string{t.SHA256}
	for _, f := range t.Files {
		sums = append(sums, f.SHA256)
	}
	for _, sum := range sums {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != sha256.Size {
			continue // no name of a file of ours
		}
		for _, name := range []string{sum, sum + ".packed"} {
			_ = os.Remove(filepath.Join(u.dir, "tuf", "parts", name)) // it is not there, or is found by the next download
		}
	}
}
