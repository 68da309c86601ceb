package dataset

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/parquet-go/parquet-go"
)

// Verify checks a folder: the manifest's signature by key (the folder's own
// key.pub if nil, which proves only that nothing was damaged), and each file's
// size, hash and, of Parquet, number of rows. It returns the manifest and the
// errors of all files, joined.
func Verify(ctx context.Context, folder fs.FS, key ed25519.PublicKey) (*Manifest, error) {
	raw, err := readBounded(folder, ManifestName, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("this is no data set: %w", err)
	}
	sig, err := readBounded(folder, SignatureName, 1<<16)
	if err != nil {
		return nil, fmt.Errorf("this is no data set: %w", err)
	}
	if key == nil {
		text, err := readBounded(folder, KeyName, 1<<16)
		if err != nil {
			return nil, fmt.Errorf("this is no data set: %w", err)
		}
		if key, err = ParsePublicKey(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", KeyName, err)
		}
	}
	if err := checkSignature(key, raw, sig); err != nil {
		return nil, err
	}
	m, err := ParseManifest(raw)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, f := range m.Files {
		if ctx.Err() != nil {
			return m, ctx.Err()
		}
		if err := verifyFile(folder, f); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Path, err))
		}
	}
	return m, errors.Join(errs...)
}

func verifyFile(folder fs.FS, f File) error {
	in, err := folder.Open(f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(in, f.Size+1))
	if err != nil {
		return err
	}
	if n != f.Size {
		return fmt.Errorf("it has %d bytes or more, not %d", n, f.Size)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != f.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, not %s", sum, f.SHA256)
	}
	at, ok := in.(io.ReaderAt)
	if f.Format != "parquet" || !ok {
		return nil
	}
	p, err := parquet.OpenFile(at, n)
	if err != nil {
		return fmt.Errorf("reading Parquet: %w", err)
	}
	if p.NumRows() != int64(f.Rows) {
		return fmt.Errorf("it has %d rows, not %d", p.NumRows(), f.Rows)
	}
	return nil
}

func readBounded(folder fs.FS, name string, most int64) ([]byte, error) {
	f, err := folder.Open(name)
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
