package release

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Role is what a person may do for modules.
type Role string

const (
	RoleMaintainer Role = "maintainer" // tag, approve, yank
	RoleAdmin      Role = "admin"      // that, and grant roles; of all modules: override advisories
)

// AllPaths is the pattern of all modules. One that ends in "/..." is of all
// below a path; any other is one module's path.
const AllPaths = "*"

// A Grant is a role of a person for the modules of a pattern.
type Grant struct {
	// Principal is "key:" and an Ed25519 public key, or "token:" and the
	// SHA-256 of a token, in hexadecimal.
	Principal string `json:"principal"`
	Path      string `json:"path"`
	Role      Role   `json:"role"`
	// Name is of the person, for others to read. Two principals of one name
	// are one person.
	Name string    `json:"name"`
	By   string    `json:"by"`
	Time time.Time `json:"time"`
}

// KeyPrincipal is the principal of a key.
func KeyPrincipal(key ed25519.PublicKey) string { return "key:" + hex.EncodeToString(key) }

// TokenPrincipal is the principal of a token, which can't be had back from it.
// That is so because tokens are random: NewToken makes them.
func TokenPrincipal(token string) string {
	h := sha256.Sum256([]byte(token))
	return "token:" + hex.EncodeToString(h[:])
}

const tokenPrefix = "evergreen_"

// NewToken makes a token of 256 random bits.
func NewToken() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return tokenPrefix + hex.EncodeToString(b[:])
}

func (g Grant) check() error {
	kind, digits, _ := strings.Cut(g.Principal, ":")
	b, err := hex.DecodeString(digits)
	if (kind != "key" && kind != "token") || err != nil || len(b) != 32 || digits != strings.ToLower(digits) {
		return fmt.Errorf(`principal is %.80q: it is "key:" or "token:" and 64 hexadecimal digits`, g.Principal)
	}
	if g.Role != RoleMaintainer && g.Role != RoleAdmin {
		return fmt.Errorf("role is %.40q: it is %s or %s", g.Role, RoleMaintainer, RoleAdmin)
	}
	if g.Path != AllPaths {
		if err := checkPath(strings.TrimSuffix(g.Path, "/...")); err != nil {
			return fmt.Errorf("%w, or such as github.com/someone/..., or %q", err, AllPaths)
		}
	}
	return checkLine("name", g.Name, maxName)
}

// covers tells whether a pattern is of all that a path or another pattern is of.
func covers(pattern, path string) bool {
	if pattern == AllPaths || pattern == path {
		return true
	}
	below, ok := strings.CutSuffix(pattern, "/...")
	return ok && (path == below || strings.HasPrefix(path, below+"/"))
}

// A person is who asks for a change, with all roles.
type person struct {
	principal, name string
	grants          []Grant
}

func (p person) may(role Role, path string) bool {
	for _, g := range p.grants {
		if (g.Role == role || g.Role == RoleAdmin) && covers(g.Path, path) {
			return true
		}
	}
	return false
}

const grantColumns = "principal, path, role, name, granted_by, time"

func grants(ctx context.Context, tx *sql.Tx, where string, args ...any) (gs []Grant, err error) {
	err = control.EachRow(ctx, tx, func(rows *sql.Rows) error {
		var g Grant
		var at int64
		err := rows.Scan(&g.Principal, &g.Path, &g.Role, &g.Name, &g.By, &at)
		g.Time = control.Time(at)
		gs = append(gs, g)
		return err
	}, "SELECT "+grantColumns+" FROM release_roles WHERE "+where, args...)
	return gs, err
}

func personOf(ctx context.Context, tx *sql.Tx, principal string) (person, error) {
	gs, err := grants(ctx, tx, "principal = $1", principal)
	if err != nil {
		return person{}, err
	}
	if len(gs) == 0 {
		return person{}, &fault{http.StatusForbidden, "this key or token is not known",
			"Ask an administrator of the service for `evergreen release grant`."}
	}
	return person{principal, gs[0].Name, gs}, nil
}

// Grant gives a person a role. An administrator may grant what lies within
// their own modules.
func (s *Service) Grant(ctx context.Context, as Credential, g Grant) (Grant, error) {
	if err := g.check(); err != nil {
		return g, invalid(err)
	}
	err := s.change(ctx, as, func(c *change) error {
		if !c.who.may(RoleAdmin, g.Path) {
			return c.forbidden(RoleAdmin, g.Path)
		}
		if err := c.checkName(g); err != nil {
			return err
		}
		var before any
		if had, err := grants(c.ctx, c.tx, "principal = $1 AND path = $2", g.Principal, g.Path); err != nil {
			return err
		} else if len(had) > 0 {
			before = had[0]
		}
		g.By, g.Time = c.who.name, c.now
		if err := insertGrant(c.ctx, c.tx, g); err != nil {
			return err
		}
		return c.audit("grant", g.Path, g.Name, before, g)
	})
	return g, err
}

func insertGrant(ctx context.Context, tx *sql.Tx, g Grant) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO release_roles (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (principal, path) DO UPDATE SET role = excluded.role, name = excluded.name, granted_by = excluded.granted_by, time = excluded.time`,
		g.Principal, g.Path, string(g.Role), g.Name, g.By, control.Micros(g.Time))
	return err
}

// checkName keeps one person from becoming two, and two from looking like one.
func (c *change) checkName(g Grant) error {
	gs, err := grants(c.ctx, c.tx, "principal = $1 OR name = $2", g.Principal, g.Name)
	if err != nil {
		return err
	}
	for _, had := range gs {
		if had.Principal == g.Principal && had.Name != g.Name {
			return &fault{http.StatusConflict, "this key or token is another person's", fmt.Sprintf("It belongs to %q.", had.Name)}
		}
		if had.Principal != g.Principal && !c.who.may(RoleAdmin, AllPaths) && g.Name != c.who.name {
			return &fault{http.StatusConflict, "there is somebody of this name",
				fmt.Sprintf("Only an administrator of all modules gives %q another key or token. Choose another name for somebody else.", g.Name)}
		}
	}
	return nil
}

// Revoke takes a role away: of a principal ("key:…", "token:…"), or with a
// name all that this person has for the pattern.
func (s *Service) Revoke(ctx context.Context, as Credential, path, principalOrName string) error {
	return s.change(ctx, as, func(c *change) error {
		if !c.who.may(RoleAdmin, path) {
			return c.forbidden(RoleAdmin, path)
		}
		had, err := grants(c.ctx, c.tx, "path = $1 AND (principal = $2 OR name = $2)", path, principalOrName)
		if err != nil {
			return err
		}
		if len(had) == 0 {
			return missing("%.80q has no role for %s.", principalOrName, path)
		}
		for _, g := range had {
			if _, err := c.tx.ExecContext(c.ctx, "DELETE FROM release_roles WHERE principal = $1 AND path = $2", g.Principal, g.Path); err != nil {
				return err
			}
			if err := c.audit("revoke", g.Path, g.Name, g, nil); err != nil {
				return err
			}
		}
		if path != AllPaths {
			return nil
		}
		left, err := grants(c.ctx, c.tx, "path = $1 AND role = $2", AllPaths, string(RoleAdmin))
		if err == nil && len(left) == 0 {
			err = &fault{http.StatusConflict, "this is the last administrator", "Grant somebody else the role first: `evergreen release grant '*' --admin …`."}
		}
		return err
	})
}

// Grants are all roles, for those who have any.
func (s *Service) Grants(ctx context.Context, as Credential) (gs []Grant, err error) {
	err = s.change(ctx, as, func(c *change) error {
		gs, err = grants(c.ctx, c.tx, "1 = 1")
		return err
	})
	return gs, err
}

// firstAdmin makes an administrator if there is none, whose token is in a file.
func (s *Service) firstAdmin(ctx context.Context) error {
	if s.cfg.AdminTokenFile == "" {
		return nil
	}
	return s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		had, err := grants(ctx, tx, "path = $1 AND role = $2", AllPaths, string(RoleAdmin))
		if err != nil || len(had) > 0 {
			return err
		}
		// The file first: what is in it after a crash is then granted.
		token, err := tokenIn(s.cfg.AdminTokenFile)
		if err != nil {
			return err
		}
		c := &change{ctx: ctx, tx: tx, now: s.now(), who: person{name: "evergreen"}}
		g := Grant{Principal: TokenPrincipal(token), Path: AllPaths, Role: RoleAdmin, Name: "admin", By: c.who.name, Time: c.now}
		if err := insertGrant(ctx, tx, g); err != nil {
			return err
		}
		return c.audit("grant", g.Path, g.Name, nil, g)
	})
}

// tokenIn reads a token from a file that only its owner can read, and makes
// both if there is none.
func tokenIn(file string) (string, error) {
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		token := strings.TrimSpace(string(b))
		if !strings.HasPrefix(token, tokenPrefix) || len(token) < len(tokenPrefix)+64 {
			return "", fmt.Errorf("%s holds no token: remove it, and another is made", file)
		}
		return token, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	token := NewToken()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	// All of it or nothing: half a token would be refused at the next start.
	f, err := os.CreateTemp(filepath.Dir(file), ".token-*")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(token + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return token, nil
}

// A Credential is who asks, as far as was proven by token or signature.
type Credential struct {
	Principal string
	// once, of a signed request, is obeyed but once until it is too old.
	once  string
	until time.Time
}

// Signed credentials are good for this long before and after their time.
const signedFor = 10 * time.Minute

// credential takes the proof from a request to change something.
func (s *Service) credential(r *http.Request, body []byte) (Credential, error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return Credential{Principal: TokenPrincipal(token)}, nil
	}
	unproven := func(detail string) error {
		return &fault{http.StatusUnauthorized, "who asks is not proven", detail}
	}
	if r.Header.Get(wire.HeaderKey) == "" {
		return Credential{}, unproven("Send a token (Authorization: Bearer …), or sign the request with your key: `evergreen release --help` tells how.")
	}
	key, err1 := hex.DecodeString(r.Header.Get(wire.HeaderKey))
	sig, err2 := hex.DecodeString(r.Header.Get(wire.HeaderSignature))
	var at int64
	_, err3 := fmt.Sscanf(r.Header.Get(wire.HeaderTime), "%d", &at)
	if err1 != nil || err2 != nil || err3 != nil {
		return Credential{}, unproven(fmt.Sprintf("%s and %s should be hexadecimal, %s Unix milliseconds.", wire.HeaderKey, wire.HeaderSignature, wire.HeaderTime))
	}
	if wire.Verify(key, wire.PurposeChange, wire.ChangeContent(r.URL.Path, r.Header.Get(wire.HeaderTime), body), sig) != nil {
		return Credential{}, unproven("The signature does not belong to this key, path, time and body.")
	}
	signed := time.UnixMilli(at)
	if d := s.now().Sub(signed); d > signedFor || d < -signedFor {
		return Credential{}, unproven(fmt.Sprintf("It was signed at %s by your clock; here it is %s. At most %v may lie between.",
			signed.UTC().Format(time.RFC3339), s.now().Format(time.RFC3339), signedFor))
	}
	return Credential{Principal: KeyPrincipal(key), once: hex.EncodeToString(sig), until: signed.Add(2 * signedFor)}, nil
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// Authorize answers who makes a change that is no release's, such as of a
// rollout, if a token or signature proves that they are a maintainer of the
// module at path. Errors have a method Problem.
func (s *Service) Authorize(r *http.Request, body []byte, path string) (name string, err error) {
	as, err := s.credential(r, body)
	if err != nil {
		return "", err
	}
	ctx := r.Context()
	err = s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		c := &change{ctx: ctx, tx: tx, now: s.now()}
		if c.who, err = personOf(ctx, tx, as.Principal); err != nil {
			return err
		}
		if !c.who.may(RoleMaintainer, path) {
			return c.forbidden(RoleMaintainer, path)
		}
		name = c.who.name
		return c.spend(as)
	})
	return name, err
}
