package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// An InstanceID is the first half of the SHA-256 of an instance's Ed25519
// public key. It is random, belongs to one data directory and says nothing of
// its owner.
type InstanceID [16]byte

// IDOf is the id that belongs to a public key.
func IDOf(key ed25519.PublicKey) InstanceID {
	h := sha256.Sum256(key)
	return InstanceID(h[:16])
}

func (id InstanceID) String() string { return hex.EncodeToString(id[:]) }

// ParseInstanceID is the inverse of String.
func ParseInstanceID(s string) (InstanceID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(InstanceID{}) {
		return InstanceID{}, fmt.Errorf("instance id %.40q is not 32 hexadecimal digits", s)
	}
	return InstanceID(b), nil
}

// A Purpose separates what one key signs, so that a signature made for one
// thing is none for another.
type Purpose string

const (
	PurposeReport Purpose = "evergreen report v1"
	PurposeForget Purpose = "evergreen forget v1"
	PurposeLink   Purpose = "evergreen link v1"
	PurposeChange Purpose = "evergreen change v1" // of releases and advisories, by a person's key
)

// ErrSignature says that a signature does not belong to what it came with.
var ErrSignature = errors.New("the signature does not match the key and the content")

// Sign signs content, byte for byte as it is sent.
func Sign(key ed25519.PrivateKey, p Purpose, content []byte) []byte {
	return ed25519.Sign(key, signed(p, content))
}

// Verify checks what Sign made. It answers ErrSignature also for keys and
// signatures of a wrong length.
func Verify(key ed25519.PublicKey, p Purpose, content, signature []byte) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, signed(p, content), signature) {
		return ErrSignature
	}
	return nil
}

// signed hashes the content first, so that a large report is not copied.
func signed(p Purpose, content []byte) []byte {
	h := sha256.Sum256(content)
	return append([]byte(string(p)+"\x00"), h[:]...)
}

// Link is the path and query of an instance's own page, readable by whoever
// has the link until expires: PathInstance + id + ?expires=&key=&signature=.
func Link(key ed25519.PrivateKey, expires time.Time) string {
	pub := key.Public().(ed25519.PublicKey)
	id := IDOf(pub).String()
	at := strconv.FormatInt(expires.Unix(), 10)
	q := url.Values{
		"expires":   {at},
		"key":       {hex.EncodeToString(pub)},
		"signature": {hex.EncodeToString(Sign(key, PurposeLink, []byte(id+"\n"+at)))},
	}
	return PathInstance + id + "?" + q.Encode()
}

// ErrExpired says that a link was good once.
var ErrExpired = errors.New("this link has expired: `caddy evergreen link` makes a new one")

// MaxLinkAge is how far in the future a link may expire.
const MaxLinkAge = 366 * 24 * time.Hour

// VerifyLink checks the query of a link to the page of id. It answers
// ErrSignature or ErrExpired.
func VerifyLink(id InstanceID, q url.Values, now time.Time) error {
	pub, err1 := hex.DecodeString(q.Get("key"))
	sig, err2 := hex.DecodeString(q.Get("signature"))
	at, err3 := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || IDOf(pub) != id {
		return ErrSignature
	}
	if err := Verify(pub, PurposeLink, []byte(id.String()+"\n"+q.Get("expires")), sig); err != nil {
		return err
	}
	if expires := time.Unix(at, 0); now.After(expires) || expires.Sub(now) > MaxLinkAge {
		return ErrExpired
	}
	return nil
}
