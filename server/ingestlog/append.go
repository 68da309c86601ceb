package ingestlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// A waiting is an append that waits for its write.
type waiting struct {
	frame  []byte
	record Record // without its body
	done   chan error
}

// Append returns nil when r is on disk. It fails with ErrFull when there is no
// room and with ErrClosed after Close. When ctx ends first, or after any other
// error, the record may be in the log or not.
func (l *Log) Append(ctx context.Context, r Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	frame, err := encodeFrame(r)
	if err != nil {
		return err
	}
	r.Body = nil
	w := &waiting{frame, r, make(chan error, 1)}
	l.queueMu.Lock()
	if l.closed {
		l.queueMu.Unlock()
		return ErrClosed
	}
	l.queue = append(l.queue, w)
	if !l.committing {
		l.committing = true
		go l.commitQueue()
	}
	l.queueMu.Unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitQueue writes batches until nobody waits. While one is being synced,
// the next one gathers.
func (l *Log) commitQueue() {
	for {
		l.queueMu.Lock()
		n, bytes := 0, 0
		for n < len(l.queue) && (n == 0 || bytes+len(l.queue[n].frame) <= maxBatch) {
			bytes += len(l.queue[n].frame)
			n++
		}
		if n == 0 {
			l.queue = nil
			l.committing = false
			l.queueIdle.Broadcast()
			l.queueMu.Unlock()
			return
		}
		batch := l.queue[:n:n]
		l.queue = l.queue[n:]
		l.queueMu.Unlock()
		err := l.commit(batch, int64(bytes))
		for _, w := range batch {
			w.done <- err
		}
	}
}

// commit writes a batch and makes it durable, or changes nothing.
func (l *Log) commit(batch []*waiting, bytes int64) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.o.MaxBytes > 0 && l.Size()+bytes > l.o.MaxBytes {
		l.metrics.full.Inc()
		return fmt.Errorf("%w (%d bytes are allowed)", ErrFull, l.o.MaxBytes)
	}
	s, err := l.writable(bytes)
	if err != nil {
		return l.failed("beginning a segment", err)
	}
	start := time.Now()
	l.buf = l.buf[:0]
	entries := make([]indexEntry, len(batch))
	for i, w := range batch {
		off := s.size + int64(len(l.buf))
		placeFrame(w.frame, s.number, off)
		l.buf = append(l.buf, w.frame...)
		entries[i] = indexEntry{w.record.Instance, off, w.record.From, w.record.To}
	}
	if _, err := l.file.WriteAt(l.buf, s.size); err != nil {
		if cut := l.file.Truncate(s.size); cut != nil {
			l.abandon(s, cut)
		}
		return l.failed(fmt.Sprintf("writing to segment %d", s.number), err)
	}
	if err := l.file.Datasync(); err != nil {
		l.metrics.syncErrors.Inc()
		l.abandon(s, err)
		return l.failed(fmt.Sprintf("syncing segment %d", s.number), err)
	}
	l.metrics.syncSeconds.Observe(time.Since(start).Seconds())
	l.metrics.batches.Inc()
	l.metrics.records.Add(float64(len(batch)))
	l.metrics.bytes.Add(float64(bytes))

	l.mu.Lock()
	for _, w := range batch {
		s.add(&w.record)
	}
	s.entries = append(s.entries, entries...)
	s.size += bytes
	l.advance(s.end())
	l.mu.Unlock()
	return nil
}

// failed tells want of room from other errors.
func (l *Log) failed(doing string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		l.metrics.full.Inc()
		return fmt.Errorf("%w (%s: %w)", ErrFull, doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// advance makes p the end of what is durable and wakes who waits. mu is held.
func (l *Log) advance(p Position) {
	l.durable = p
	if !l.done {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// writable is the segment that so many bytes can be appended to. writeMu is held.
func (l *Log) writable(bytes int64) (*segment, error) {
	if l.file != nil {
		s := l.segments[len(l.segments)-1]
		if s.size == segmentHeader || s.size+bytes <= l.o.SegmentBytes && (s.records == 0 || l.o.Now().Sub(s.first) < l.o.SegmentAge) {
			return s, nil
		}
		if err := l.begin(s.number + 1); err != nil {
			return nil, err
		}
	} else {
		last, err := l.lastNumber()
		if err != nil {
			return nil, err
		}
		if err := l.begin(last + 1); err != nil {
			return nil, err
		}
	}
	return l.segments[len(l.segments)-1], nil
}

// begin seals the last segment, if it is not yet, and begins one. writeMu is held.
func (l *Log) begin(number uint64) error {
	name := l.segmentPath(number)
	f, err := l.o.openWriter(name)
	if err != nil {
		return err
	}
	header := encodeSegmentHeader(number)
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt(header, 0)
	}
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = syncDir(l.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(name))
	}
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			l.log.Error("closing a sealed segment", "cause", err)
		}
	}
	l.file = f
	l.indexing.Wait() // so that at most one sealed segment's entries are in memory
	l.mu.Lock()
	if n := len(l.segments); n > 0 {
		l.segments[n-1].sealed = true
	}
	s := &segment{number: number, size: segmentHeader}
	l.segments = append(l.segments, s)
	l.advance(s.end())
	l.mu.Unlock()
	l.indexing.Add(1)
	go func() {
		defer l.indexing.Done()
		l.writeIndexes()
	}()
	return nil
}

// abandon seals the segment being written to after an error that leaves
// unknown what is on disk. writeMu is held.
func (l *Log) abandon(s *segment, cause error) {
	l.log.Error("a write to a segment failed: nothing of it was acknowledged, and a new segment will be begun; check the disk", "segment", s.number, "durable_bytes", s.size, "cause", cause)
	if err := l.file.Close(); err != nil {
		l.log.Error("closing a failed segment", "segment", s.number, "cause", err)
	}
	l.file = nil
	found, err := l.verify(s)
	if err != nil {
		l.log.Error("a failed segment can't be checked", "segment", s.number, "cause", err)
	} else {
		l.reportDamage(s.number, found, s.size)
	}
	l.mu.Lock()
	s.sealed = true
	l.mu.Unlock()
	l.writeIndexes()
}

// verify cuts a segment to its durable length and reads that again, from disk
// where the system lets us.
func (l *Log) verify(s *segment) (scanned, error) {
	f, err := os.OpenFile(l.segmentPath(s.number), os.O_RDWR, 0)
	if err != nil {
		return scanned{}, err
	}
	defer f.Close()
	// What can't be cut is ignored from now on: the index holds the length.
	if err := f.Truncate(s.size); err != nil {
		l.log.Error("a failed segment can't be cut", "segment", s.number, "cause", err)
	}
	if err := dropCache(f); err != nil {
		l.log.Warn("a failed segment is checked in memory only", "segment", s.number, "cause", err)
	}
	return scan(f, s.number, s.size, func(int64, *Record) {})
}
