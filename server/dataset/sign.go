package dataset

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// Signatures are minisign's (https://jedisct1.github.io/minisign/#signature-format):
// Ed25519 of the BLAKE2b-512 hash of the file, and of that signature together
// with a trusted comment. Whoever has the tool can check them without ours.

// ErrSignature is that a manifest is not signed by the key that was expected.
var ErrSignature = errors.New("the manifest's signature is wrong")

var hashedEd25519 = []byte("ED")

// keyID tells keys apart.
func keyID(pub ed25519.PublicKey) []byte {
	sum := sha256.Sum256(pub)
	return sum[:8]
}

// PublicKey is a key's line in minisign's format.
func PublicKey(pub ed25519.PublicKey) string {
	return base64.StdEncoding.EncodeToString(bytes.Join([][]byte{[]byte("Ed"), keyID(pub), pub}, nil))
}

// ParsePublicKey reads a key as `minisign -P` takes it, or a key's file.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	lines := strings.Fields(s)
	if len(lines) == 0 {
		return nil, errors.New("the key is empty")
	}
	b, err := base64.StdEncoding.DecodeString(lines[len(lines)-1])
	if err != nil || len(b) != 2+8+ed25519.PublicKeySize || string(b[:2]) != "Ed" {
		return nil, errors.New("this is no public key of minisign: it should be a line of 56 characters that begins with RW")
	}
	return ed25519.PublicKey(b[10:]), nil
}

// sign makes a signature file.
func sign(key ed25519.PrivateKey, content []byte, comment string) []byte {
	pub := key.Public().(ed25519.PublicKey)
	hash := blake2b.Sum512(content)
	sig := ed25519.Sign(key, hash[:])
	global := ed25519.Sign(key, append(bytes.Clone(sig), comment...))
	enc := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, "untrusted comment: verify with key.pub\n%s\ntrusted comment: %s\n%s\n",
		enc(bytes.Join([][]byte{hashedEd25519, keyID(pub), sig}, nil)), comment, enc(global))
}

// checkSignature checks a signature file of content.
func checkSignature(pub ed25519.PublicKey, content, file []byte) error {
	lines := strings.Split(string(file), "\n")
	if len(lines) < 4 {
		return fmt.Errorf("%w: it has %d lines, not 4", ErrSignature, len(lines))
	}
	first, err1 := base64.StdEncoding.DecodeString(lines[1])
	comment, ok := strings.CutPrefix(lines[2], "trusted comment: ")
	global, err2 := base64.StdEncoding.DecodeString(lines[3])
	if err := errors.Join(err1, err2); err != nil || !ok || len(first) != 2+8+ed25519.SignatureSize {
		return fmt.Errorf("%w: it is not in minisign's format", ErrSignature)
	}
	if !bytes.Equal(first[:2], hashedEd25519) || !bytes.Equal(first[2:10], keyID(pub)) {
		return fmt.Errorf("%w: it is another key's", ErrSignature)
	}
	sig, hash := first[10:], blake2b.Sum512(content)
	if !ed25519.Verify(pub, hash[:], sig) || !ed25519.Verify(pub, append(bytes.Clone(sig), comment...), global) {
		return ErrSignature
	}
	return nil
}
