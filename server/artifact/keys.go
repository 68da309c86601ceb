package artifact

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// The roles of keys. Root and targets are offline: their keys never are where
// the server is. The server signs for the others by itself.
const (
	RoleRoot      = metadata.ROOT
	RoleTargets   = metadata.TARGETS
	RoleSnapshot  = metadata.SNAPSHOT
	RoleTimestamp = metadata.TIMESTAMP
	RoleBuilds    = "builds"
)

// Roles are all of them, the most trusted first.
var Roles = []string{RoleRoot, RoleTargets, RoleBuilds, RoleSnapshot, RoleTimestamp}

// Offline tells whether a role's keys are kept off the server.
func Offline(role string) bool { return role == RoleRoot || role == RoleTargets }

// A Key is a private key (Ed25519) for one role.
type Key struct {
	Role    string
	ID      string // TUF's, hexadecimal
	Public  *metadata.Key
	private ed25519.PrivateKey
}

// NewKey makes a key.
func NewKey(role string) (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key(role, private)
}

func key(role string, private ed25519.PrivateKey) (*Key, error) {
	if !slices.Contains(Roles, role) {
		return nil, fmt.Errorf("there is no role %q: it is one of %s", role, strings.Join(Roles, ", "))
	}
	public, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	id, err := public.ID()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return &Key{role, id, public, private}, nil
}

func (k *Key) signer() (signature.Signer, error) {
	return signature.LoadSigner(k.private, crypto.Hash(0))
}

// FileName is what Save calls the key's file.
func (k *Key) FileName() string { return k.Role + "-" + k.ID[:12] + ".key" }

// keyFile is a key on disk: what is secret is encrypted with scrypt and NaCl's
// secretbox.
type keyFile struct {
	Role    string          `json:"role"`
	ID      string          `json:"keyid"`
	Public  *metadata.Key   `json:"public"`
	Private json.RawMessage `json:"private"`
}

// Save writes the key to a new file in a folder, encrypted with a passphrase,
// and gives the file's name.
func (k *Key) Save(dir string, passphrase []byte) (string, error) {
	if len(passphrase) == 0 {
		return "", errors.New("a key is not written without a passphrase: set EVERGREEN_KEYS_PASSPHRASE_FILE")
	}
	box, err := encrypted.Marshal(k.private.Seed(), passphrase)
	if err != nil {
		return "", fmt.Errorf("encrypting a key: %w", err)
	}
	b, err := json.MarshalIndent(keyFile{k.Role, k.ID, k.Public, box}, "", "\t")
	if err != nil {
		return "", fmt.Errorf("writing a key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the folder of keys: %w", err)
	}
	name := filepath.Join(dir, k.FileName())
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("writing a key: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	return name, errors.Join(err, f.Sync(), f.Close())
}

// maxKeyFile bounds a key's file, in bytes.
const maxKeyFile = 16 << 10

// LoadKeys reads the keys in a folder, those of some roles, or all if none is
// named. A folder that is not there has none.
func LoadKeys(dir string, passphrase []byte, roles ...string) ([]*Key, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		return nil, fmt.Errorf("looking for keys: %w", err)
	}
	var keys []*Key
	for _, name := range names {
		b, err := readBounded(name, maxKeyFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading a key: %w", err)
		}
		k, err := parseKey(b, passphrase, roles)
		if err != nil {
			return nil, fmt.Errorf("reading the key %s: %w", name, err)
		}
		if k != nil {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// parseKey reads a key's file; nil if its role is none of those wanted.
func parseKey(b, passphrase []byte, roles []string) (*Key, error) {
	var f keyFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("it is no key: %w", err)
	}
	if len(roles) > 0 && !slices.Contains(roles, f.Role) {
		return nil, nil
	}
	var seed []byte
	if err := encrypted.Unmarshal(f.Private, &seed, passphrase); err != nil {
		return nil, fmt.Errorf("decrypting it: %w: is the passphrase the one it was made with?", err)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("its secret has %d bytes, not %d", len(seed), ed25519.SeedSize)
	}
	k, err := key(f.Role, ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, err
	}
	if k.ID != f.ID {
		return nil, fmt.Errorf("its id is %s, not the %.64q that it claims", k.ID, f.ID)
	}
	return k, nil
}

func readBounded(name string, most int64) ([]byte, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if fi.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes: at most %d are taken", name, fi.Size(), most)
	}
	return os.ReadFile(name)
}

// sign replaces a metadata's signatures by those of keys.
func sign[T metadata.Roles](m *metadata.Metadata[T], keys []*Key) error {
	m.ClearSignatures()
	return addSignatures(m, keys)
}

// addSignatures adds those of keys that have not signed yet.
func addSignatures[T metadata.Roles](m *metadata.Metadata[T], keys []*Key) error {
	for _, k := range keys {
		if slices.ContainsFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == k.ID }) {
			continue
		}
		s, err := k.signer()
		if err != nil {
			return fmt.Errorf("signing with %s: %w", k.ID, err)
		}
		if _, err := m.Sign(s); err != nil {
			return fmt.Errorf("signing with %s: %w", k.ID, err)
		}
	}
	return nil
}
