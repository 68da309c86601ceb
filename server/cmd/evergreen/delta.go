package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/caddy-evergreen/evergreen/delta"
)

const deltaAbout = `Usage: evergreen delta make [--method METHOD] OLD NEW PATCH
       evergreen delta apply [--sha256 HEX] OLD PATCH NEW
       evergreen delta info PATCH

Makes and applies patches from one executable to another.

  make    writes to PATCH what makes NEW of OLD. The method is one of
            zstd-patch  in seconds (default)
            bsdiff      a quarter of the size, in half a minute, with 0.7 GiB of memory
            zstd        NEW as a whole, compressed: OLD is not used
  apply   writes to NEW what PATCH makes of OLD ("-" if it needs none). PATCH may
          be a bare Zstandard frame too, as "zstd --patch-from=OLD NEW" writes:
          then --sha256 is needed. NEW appears only if its hash is right, with
          OLD's mode; PATCH is not trusted.
  info    prints what PATCH says of itself.`

// maxDeltaFile bounds the files that are read whole.
const maxDeltaFile = 1 << 30

func deltaCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("delta", deltaAbout, stderr)
	method := fs.String("method", "zstd-patch", "`METHOD` of make: zstd-patch, bsdiff or zstd")
	want := fs.String("sha256", "", "the SHA-256 in `HEX` that the result of apply must have")
	verb := ""
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		verb, args = args[0], args[1:]
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	a := fs.Args()
	switch {
	case verb == "make" && len(a) == 3:
		m, err := delta.ParseMethod(*method)
		if err != nil {
			return fmt.Errorf("%w: %w", err, errUsage)
		}
		return deltaMake(ctx, a[0], a[1], a[2], m, stdout)
	case verb == "apply" && len(a) == 3:
		var l delta.Limits
		if *want != "" {
			if b, err := hex.DecodeString(*want); err != nil || len(b) != len(l.SHA256) {
				return fmt.Errorf("--sha256 %q has not 64 hexadecimal digits: %w", *want, errUsage)
			} else {
				l.SHA256 = [32]byte(b)
			}
		}
		return deltaApply(a[0], a[1], a[2], l, stdout)
	case verb == "info" && len(a) == 1:
		return deltaInfo(a[0], stdout)
	}
	return fmt.Errorf("delta takes make OLD NEW PATCH, apply OLD PATCH NEW, or info PATCH: %w", errUsage)
}

func deltaMake(ctx context.Context, old, fresh, patch string, m delta.Method, stdout io.Writer) error {
	var from []byte
	var err error
	if m != delta.Zstd {
		if from, err = readWhole(old); err != nil {
			return err
		}
	}
	to, err := readWhole(fresh)
	if err != nil {
		return err
	}
	var h delta.Header
	if err := writeAside(patch, 0o644, func(w io.Writer) error {
		h, err = delta.Make(ctx, from, to, m, w)
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d bytes, %.2f %% of the new file\n", patch, h.Size(), 100*float64(h.Size())/float64(max(h.NewSize, 1)))
	return nil
}

func deltaApply(old, patch, fresh string, l delta.Limits, stdout io.Writer) error {
	var from *io.SectionReader
	mode := os.FileMode(0o755)
	if old != "-" {
		f, err := os.Open(old)
		if err != nil {
			return err
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		from, mode = io.NewSectionReader(f, 0, fi.Size()), fi.Mode().Perm()
	}
	p, err := os.Open(patch)
	if err != nil {
		return err
	}
	defer p.Close()
	var h delta.Header
	if err := writeAside(fresh, mode, func(w io.Writer) error {
		h, err = delta.Apply(from, p, w, l)
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d bytes, SHA-256 %x\n", fresh, h.NewSize, h.NewSHA256)
	return nil
}

func deltaInfo(patch string, stdout io.Writer) error {
	f, err := os.Open(patch)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, delta.HeaderSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	h, err := delta.ParseHeader(head[:n])
	if err != nil {
		return fmt.Errorf("%s: %w", patch, err)
	}
	if fi.Size() != h.Size() {
		return fmt.Errorf("%s: %w: it has %d bytes, and says %d", patch, delta.ErrFormat, fi.Size(), h.Size())
	}
	fmt.Fprintf(stdout, "method   %v\n", h.Method)
	if h.Method != delta.Zstd {
		fmt.Fprintf(stdout, "old      %d bytes, SHA-256 %x\n", h.OldSize, h.OldSHA256)
	}
	fmt.Fprintf(stdout, "new      %d bytes, SHA-256 %x\npatch    %d bytes, %.2f %% of the new file\n",
		h.NewSize, h.NewSHA256, h.Size(), 100*float64(h.Size())/float64(max(h.NewSize, 1)))
	return nil
}

// readWhole reads a file of at most maxDeltaFile bytes.
func readWhole(name string) ([]byte, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxDeltaFile {
		return nil, fmt.Errorf("%s has %d bytes: at most %d are taken", name, fi.Size(), maxDeltaFile)
	}
	return os.ReadFile(name)
}

// writeAside writes a file that appears under its name when it is complete.
func writeAside(name string, mode os.FileMode, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 256<<10)
	if err := write(w); err != nil {
		return err
	}
	if err := errors.Join(w.Flush(), f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
