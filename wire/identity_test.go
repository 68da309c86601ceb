package wire

import (
	"crypto/ed25519"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func testKey(b byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = b
	return ed25519.NewKeyFromSeed(seed)
}

func TestInstanceID(t *testing.T) {
	id := IDOf(testKey(1).Public().(ed25519.PublicKey))
	if got, err := ParseInstanceID(id.String()); err != nil || got != id {
		t.Errorf("ParseInstanceID(%s) = %s, %v", id, got, err)
	}
	if other := IDOf(testKey(2).Public().(ed25519.PublicKey)); other == id {
		t.Error("two keys have the same id")
	}
	for _, s := range []string{"", "00", id.String() + "00", id.String()[1:], strings.Repeat("g", 32)} {
		if _, err := ParseInstanceID(s); err == nil {
			t.Errorf("ParseInstanceID(%q) has no error", s)
		}
	}
}

func TestSignatureIsForOneKeyPurposeAndContent(t *testing.T) {
	key := testKey(1)
	pub := key.Public().(ed25519.PublicKey)
	content := []byte("content")
	sig := Sign(key, PurposeReport, content)
	if err := Verify(pub, PurposeReport, content, sig); err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), sig...)
	flipped[3] ^= 1
	for name, err := range map[string]error{
		"other key":       Verify(testKey(2).Public().(ed25519.PublicKey), PurposeReport, content, sig),
		"other purpose":   Verify(pub, PurposeForget, content, sig),
		"other content":   Verify(pub, PurposeReport, []byte("Content"), sig),
		"no content":      Verify(pub, PurposeReport, nil, sig),
		"other signature": Verify(pub, PurposeReport, content, flipped),
		"short signature": Verify(pub, PurposeReport, content, sig[:63]),
		"no signature":    Verify(pub, PurposeReport, content, nil),
		"short key":       Verify(pub[:31], PurposeReport, content, sig),
		"no key":          Verify(nil, PurposeReport, content, sig),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLink(t *testing.T) {
	key := testKey(1)
	id := IDOf(key.Public().(ed25519.PublicKey))
	otherID := IDOf(testKey(2).Public().(ed25519.PublicKey))
	now := time.Unix(1_800_000_000, 0)
	query := func(key ed25519.PrivateKey, expires time.Time) url.Values {
		u, err := url.Parse("https://telemetry.example" + Link(key, expires))
		if err != nil {
			t.Fatal(err)
		}
		if want := PathInstance + IDOf(key.Public().(ed25519.PublicKey)).String(); u.Path != want {
			t.Errorf("path is %s, want %s", u.Path, want)
		}
		return u.Query()
	}
	with := func(q url.Values, name, value string) url.Values {
		q.Set(name, value)
		return q
	}
	good := query(key, now.Add(time.Hour))
	for _, test := range []struct {
		name string
		id   InstanceID
		q    url.Values
		now  time.Time
		want error
	}{
		{"good", id, good, now, nil},
		{"last second", id, good, now.Add(time.Hour), nil},
		{"a second late", id, good, now.Add(time.Hour + time.Second), ErrExpired},
		{"too far ahead", id, query(key, now.Add(MaxLinkAge+time.Second)), now, ErrExpired},
		{"as far ahead as may be", id, query(key, now.Add(MaxLinkAge)), now, nil},
		{"another's page", otherID, good, now, ErrSignature},
		{"another's key", id, query(testKey(2), now.Add(time.Hour)), now, ErrSignature},
		{"longer than signed", id, with(query(key, now), "expires", strconv.FormatInt(now.Unix()+9, 10)), now, ErrSignature},
		{"written in another way", id, with(query(key, now.Add(time.Hour)), "expires", "+"+good.Get("expires")), now, ErrSignature},
		{"key no hex", id, with(query(key, now), "key", "x"), now, ErrSignature},
		{"key empty", id, with(query(key, now), "key", ""), now, ErrSignature},
		{"signature no hex", id, with(query(key, now), "signature", "x"), now, ErrSignature},
		{"expires no number", id, with(query(key, now), "expires", "soon"), now, ErrSignature},
		{"empty", id, nil, now, ErrSignature},
	} {
		if err := VerifyLink(test.id, test.q, test.now); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func FuzzVerifyLink(f *testing.F) {
	key := testKey(1)
	id := IDOf(key.Public().(ed25519.PublicKey))
	now := time.Unix(1_800_000_000, 0)
	link := Link(key, now.Add(time.Hour))
	_, good, _ := strings.Cut(link, "?")
	f.Add(good)
	f.Add("expires=99999999999999999999&key=00&signature=00")
	f.Add("")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		if VerifyLink(id, q, now) == nil && q.Get("signature") == "" {
			t.Errorf("%q is good without a signature", raw)
		}
	})
}
