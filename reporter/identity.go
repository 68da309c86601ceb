package reporter

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	keyFile    = "identity.key"
	noticeFile = "notice"
	spoolDir   = "spool"
	ledgerFile = "state.json"
)

// A ledger is what must be remembered of reports that are no longer there.
type ledger struct {
	Last          uint64 `json:"last"` // highest number that was ever sealed
	StoredThrough uint64 `json:"stored_through"`
}

func encodeKey(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func decodeKey(b []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%w: %s is no PEM file", errUnreadable, keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUnreadable, keyFile, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: %s holds a %T", errUnreadable, keyFile, parsed)
	}
	return key, nil
}

func idOf(key ed25519.PrivateKey) wire.InstanceID {
	return wire.IDOf(key.Public().(ed25519.PublicKey))
}

// identity loads the key and its ledger, or begins a new identity where there
// is none that can be used. The folder is locked.
func (s *spool) identity() (ed25519.PrivateKey, ledger, error) {
	b, err := s.dir.read(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s.newIdentity()
	}
	if err != nil && !errors.Is(err, errUnreadable) {
		return nil, ledger{}, fmt.Errorf("reading the instance's key: %w", err)
	}
	var key ed25519.PrivateKey
	if err == nil {
		key, err = decodeKey(b)
	}
	if err != nil {
		aside := keyFile + ".damaged-" + strconv.FormatInt(s.now().Unix(), 10)
		s.log.Warn("the instance's key is damaged: it is set aside and a new identity begins",
			zap.String("renamed_to", aside), zap.Error(err))
		if err := s.dir.rename(keyFile, aside); err != nil {
			return nil, ledger{}, fmt.Errorf("setting the damaged key aside: %w", err)
		}
		return s.newIdentity()
	}
	l, err := s.readLedger(idOf(key))
	if errors.Is(err, errUnreadable) || errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("the instance has lost count of its reports: a new identity begins, because no number may be used twice", zap.Error(err))
		return s.newIdentity()
	}
	return key, l, err
}

// newIdentity begins a new identity. Replacing the key is the moment of
// change: before it, nothing uses the new ledger, and after it, nothing uses
// the old one.
func (s *spool) newIdentity() (ed25519.PrivateKey, ledger, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, ledger{}, err
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return nil, ledger{}, err
	}
	if err := s.writeLedger(idOf(key), ledger{}); err != nil {
		return nil, ledger{}, err
	}
	if err := s.dir.write(keyFile, encoded); err != nil {
		return nil, ledger{}, fmt.Errorf("writing the instance's key: %w", err)
	}
	return key, ledger{}, nil
}

func ledgerName(id wire.InstanceID) string { return spoolDir + "/" + id.String() + "/" + ledgerFile }

func (s *spool) readLedger(id wire.InstanceID) (ledger, error) {
	var l ledger
	b, err := s.dir.read(ledgerName(id))
	if err != nil {
		return l, fmt.Errorf("reading %s: %w", ledgerFile, err)
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("%w: %s: %w", errUnreadable, ledgerFile, err)
	}
	return l, nil
}

func (s *spool) writeLedger(id wire.InstanceID, l ledger) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := s.dir.write(ledgerName(id), b); err != nil {
		return fmt.Errorf("writing %s: %w", ledgerFile, err)
	}
	return nil
}

// notice answers when the notice was given. If it was not yet, it calls give
// and notes the time. A crash in between gives it twice.
func (s *spool) notice(give func()) (time.Time, error) {
	_, unlock, err := s.begin()
	if err != nil {
		return time.Time{}, err
	}
	defer unlock()
	now := s.now()
	if b, err := s.dir.read(noticeFile); err == nil {
		if t, err := time.Parse(time.RFC3339, string(b)); err == nil && !t.After(now) {
			return t, nil
		}
	}
	give()
	if err := s.dir.write(noticeFile, []byte(now.UTC().Format(time.RFC3339))); err != nil {
		return time.Time{}, fmt.Errorf("writing when the notice was given: %w", err)
	}
	return now, nil
}
