package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A fetcher gets metadata for go-tuf, whose interface has no context.
type fetcher struct {
	client *http.Client
	limits Limits
	ctx    context.Context
	roots  map[int64][]byte // by version, as they came
	slow   error            // what ended the last transfer, if it was we
}

// DownloadFile implements go-tuf's fetcher.Fetcher.
func (f *fetcher) DownloadFile(u string, most int64, _ time.Duration) ([]byte, error) {
	b, err := f.get(u, min(most, f.limits.Metadata))
	version, isRoot := strings.CutSuffix(path.Base(u), ".root.json")
	var status *metadata.ErrDownloadHTTP
	switch {
	case err == nil && isRoot:
		if n, err := strconv.ParseInt(version, 10, 64); err == nil {
			f.roots[n] = b
		}
	case isRoot && errors.As(err, &status) && status.StatusCode == http.StatusForbidden:
		// Object stores forbid what is not there; go-tuf ends the chain at 404.
		status.StatusCode = http.StatusNotFound
	}
	return b, err
}

func (f *fetcher) get(u string, most int64) ([]byte, error) {
	body, stop, err := open(f.ctx, f.client, u, 0, f.limits)
	if err != nil {
		f.slow = slowness(err)
		return nil, err
	}
	defer stop()
	b, err := io.ReadAll(io.LimitReader(body, most+1))
	if err != nil {
		f.slow = slowness(err)
		return nil, fmt.Errorf("downloading %s: %w", u, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, u, most)
	}
	return b, nil
}

func slowness(err error) error {
	if errors.Is(err, ErrSlow) {
		return err
	}
	return nil
}

// explain gives an error of go-tuf, which wraps few, its kind.
func (f *fetcher) explain(err error) error {
	if f.slow != nil && !errors.Is(err, ErrSlow) {
		err = fmt.Errorf("%w: %w", err, f.slow)
	}
	return classify(err)
}

// open sends a request for u from a byte on, and gives its body; it fails, too,
// when the transfer becomes too slow. stop must be called.
func open(ctx context.Context, client *http.Client, u string, from int64, l Limits) (body io.Reader, stop func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		cancel(nil)
		return nil, nil, fmt.Errorf("asking %s: %w", u, err)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	m := &meter{ctx: ctx}
	go m.watch(cancel, l)
	res, err := client.Do(req)
	if err != nil {
		err = m.cause(err)
		cancel(nil)
		return nil, nil, fmt.Errorf("asking %s: %w", u, err)
	}
	m.r = res.Body
	end := func() {
		cancel(nil)
		res.Body.Close()
	}
	switch {
	case res.StatusCode == http.StatusOK:
		if from > 0 {
			end()
			return nil, nil, errNoRange
		}
	case from > 0 && res.StatusCode == http.StatusPartialContent:
		if !strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)) {
			end()
			return nil, nil, errNoRange
		}
	default:
		end()
		return nil, nil, &metadata.ErrDownloadHTTP{StatusCode: res.StatusCode, URL: u}
	}
	return m, end, nil
}

// errNoRange says that the answer is not from where it was asked for.
var errNoRange = errors.New("the server does not resume downloads")

// A meter counts what is read.
type meter struct {
	r   io.Reader
	ctx context.Context
	n   atomic.Int64
}

// watch cancels the transfer when a window of it was too slow.
func (m *meter) watch(cancel context.CancelCauseFunc, l Limits) {
	t := time.NewTicker(l.Window)
	defer t.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-t.C:
			if n := m.n.Swap(0); n < int64(float64(l.MinRate)*l.Window.Seconds()) {
				cancel(fmt.Errorf("%w: %d bytes in %v", ErrSlow, n, l.Window))
				return
			}
		}
	}
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.n.Add(int64(n))
	if err != nil && err != io.EOF {
		err = m.cause(err)
	}
	return n, err
}

// cause tells why a context ended a transfer, which the HTTP client does not.
func (m *meter) cause(err error) error {
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	return err
}

// classify gives an error of go-tuf its kind.
func classify(err error) error {
	for _, k := range []error{ErrSlow, ErrTooLarge, ErrMalformed, ErrMismatch, ErrSignatures, ErrExpired, ErrRollback} {
		if errors.Is(err, k) {
			return err
		}
	}
	var (
		unsigned *metadata.ErrUnsignedMetadata
		expired  *metadata.ErrExpiredMetadata
		version  *metadata.ErrBadVersionNumber
		mismatch *metadata.ErrLengthOrHashMismatch
		large    *metadata.ErrDownloadLengthMismatch
		repo     *metadata.ErrRepository
		value    *metadata.ErrValue
		kind     *metadata.ErrType
		syntax   *json.SyntaxError
		typ      *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &unsigned):
		return fmt.Errorf("%w: %w", ErrSignatures, err)
	case errors.As(err, &expired):
		return fmt.Errorf("%w: %w: check this machine's clock; else the repository, or who is before it, serves old metadata", ErrExpired, err)
	case errors.As(err, &version):
		return fmt.Errorf("%w: %w", ErrRollback, err)
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	case errors.As(err, &large):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.As(err, &repo), errors.As(err, &value), errors.As(err, &kind), errors.As(err, &syntax), errors.As(err, &typ), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return err
}
