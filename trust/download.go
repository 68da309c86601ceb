package trust

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// Download writes a target to the file name, which appears when its size and
// hash are right. What an earlier call got is not asked for again. Its errors
// are ErrMismatch, ErrTooLarge, ErrSlow, and those of files and of reaching the
// repository; after the last ones, calling it again goes on.
func (c *Client) Download(ctx context.Context, t Target, name string) error {
	if t.Size > c.c.Limits.Target {
		return fmt.Errorf("%w: %s has %d bytes: at most %d are taken", ErrTooLarge, t.Name, t.Size, c.c.Limits.Target)
	}
	p := &part{name: filepath.Join(c.c.Dir, "parts", fmt.Sprintf("%x", t.SHA256)), target: t}
	if err := p.open(); err != nil {
		return fmt.Errorf("downloading %s: %w", t.Name, err)
	}
	defer p.close()
	var errs []error
	for _, u := range c.urls {
		err := p.from(ctx, c, u+"/targets/"+t.path)
		if err == nil {
			if err := p.done(name); err != nil {
				return fmt.Errorf("downloading %s: %w", t.Name, err)
			}
			return nil
		}
		errs = append(errs, fmt.Errorf("from %s: %w", u, err))
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("downloading %s: %w", t.Name, errors.Join(errs...))
}

// A part is a file that is not whole yet. One process at a time has it: an
// operating system's lock would be one more thing to fail, and the hash tells.
type part struct {
	name   string
	target Target
	f      *os.File
	sum    hash.Hash
	have   int64
}

// open goes on with what there is.
func (p *part) open() (err error) {
	if p.f, err = os.OpenFile(p.name, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	p.sum = sha256.New()
	if p.have, err = io.Copy(p.sum, io.LimitReader(p.f, p.target.Size+1)); err != nil {
		return err
	}
	if p.have > p.target.Size || p.have == p.target.Size && !p.right() {
		return p.restart()
	}
	return nil
}

func (p *part) restart() error {
	p.sum.Reset()
	p.have = 0
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

func (p *part) right() bool { return [32]byte(p.sum.Sum(nil)) == p.target.SHA256 }

// from fetches the rest from a URL, and all of it if the rest does not fit.
func (p *part) from(ctx context.Context, c *Client, u string) error {
	for {
		resumed := p.have > 0
		err := p.rest(ctx, c, u)
		if err == nil && p.right() {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%w: its SHA-256 is %x, not %x", ErrMismatch, p.sum.Sum(nil), p.target.SHA256)
		}
		if !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, errNoRange) {
			return err
		}
		if err := p.restart(); err != nil {
			return err
		}
		if !resumed {
			return err
		}
	}
}

func (p *part) rest(ctx context.Context, c *Client, u string) error {
	if p.have == p.target.Size {
		return nil
	}
	body, stop, err := open(ctx, c.c.HTTP, u, p.have, c.c.Limits)
	if err != nil {
		return classify(err)
	}
	defer stop()
	n, err := io.Copy(io.MultiWriter(p.f, p.sum), io.LimitReader(body, p.target.Size-p.have))
	p.have += n
	if err != nil {
		return err
	}
	if p.have < p.target.Size {
		return fmt.Errorf("it ends after %d of %d bytes: %w", p.have, p.target.Size, io.ErrUnexpectedEOF)
	}
	if n, _ := body.Read(make([]byte, 1)); n > 0 {
		return fmt.Errorf("%w: it goes on after %d bytes", ErrTooLarge, p.target.Size)
	}
	return nil
}

func (p *part) close() {
	if p.f != nil {
		p.f.Close()
	}
}

func (p *part) done(name string) error {
	err := errors.Join(p.f.Sync(), p.f.Close())
	p.f = nil
	if err != nil {
		return err
	}
	return os.Rename(p.name, name)
}
