package artifact

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	payloadType   = "application/vnd.in-toto+json"
	predicateType = "https://slsa.dev/provenance/v1"
	// buildType names the recipe, so that others can follow it.
	buildType = "https://github.com/caddy-evergreen/evergreen/blob/main/docs/trust.md#provenance"
)

// provenance says how an executable was built: an in-toto statement with SLSA's
// predicate, in a DSSE envelope signed by the keys of builds.
func provenance(b Build, name, builder string, now time.Time, keys []*Key) ([]byte, error) {
	spec, err := asStruct(b.Spec)
	if err != nil {
		return nil, err
	}
	internal, err := asStruct(map[string]string{"go.mod": b.GoMod, "go.sum": b.GoSum})
	if err != nil {
		return nil, err
	}
	p := &slsa.Provenance{
		BuildDefinition: &slsa.BuildDefinition{
			BuildType:            buildType,
			ExternalParameters:   spec,
			InternalParameters:   internal,
			ResolvedDependencies: dependencies(b),
		},
		RunDetails: &slsa.RunDetails{
			Builder:  &slsa.Builder{Id: builder},
			Metadata: &slsa.BuildMetadata{InvocationId: b.Spec.ID(), FinishedOn: timestamppb.New(now)},
		},
	}
	if builder == "" {
		p.RunDetails.Builder.Id = "https://github.com/caddy-evergreen/evergreen"
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	predicate, err := protojson.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	var fields structpb.Struct
	if err := protojson.Unmarshal(predicate, &fields); err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	statement := &intoto.Statement{
		Type:          intoto.StatementTypeUri,
		Subject:       []*intoto.ResourceDescriptor{{Name: name, Digest: map[string]string{"sha256": b.SHA256}}},
		PredicateType: predicateType,
		Predicate:     &fields,
	}
	if err := statement.Validate(); err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	body, err := protojson.Marshal(statement)
	if err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	var signers []dsse.Signer
	for _, k := range keys {
		signers = append(signers, dsseSigner{k})
	}
	s, err := dsse.NewEnvelopeSigner(signers...)
	if err != nil {
		return nil, fmt.Errorf("signing provenance: %w", err)
	}
	e, err := s.SignPayload(context.Background(), payloadType, body)
	if err != nil {
		return nil, fmt.Errorf("signing provenance: %w", err)
	}
	return json.Marshal(e)
}

func asStruct(v any) (*structpb.Struct, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	var s structpb.Struct
	if err := protojson.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	return &s, nil
}

// dependencies are the modules and the toolchain, with the hashes that the lock
// file has of them.
func dependencies(b Build) []*intoto.ResourceDescriptor {
	sums := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(b.GoSum)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || !strings.HasPrefix(f[2], "h1:") {
			continue
		}
		if raw, err := base64.StdEncoding.DecodeString(f[2][len("h1:"):]); err == nil && len(raw) == 32 {
			sums[f[0]+"@"+f[1]] = hex.EncodeToString(raw)
		}
	}
	list := []*intoto.ResourceDescriptor{{Name: "toolchain", Uri: "pkg:golang/toolchain@" + b.Spec.Go}}
	for _, m := range b.List.Modules {
		d := &intoto.ResourceDescriptor{Name: m.Path, Uri: "pkg:golang/" + m.String()}
		if sum := sums[m.String()]; sum != "" {
			d.Digest = map[string]string{"dirHash": sum}
		}
		list = append(list, d)
	}
	return list
}

// dsseSigner signs for DSSE and verifies.
type dsseSigner struct{ k *Key }

func (s dsseSigner) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(s.k.private, data), nil
}
func (s dsseSigner) KeyID() (string, error)   { return s.k.ID, nil }
func (s dsseSigner) Public() crypto.PublicKey { return s.k.private.Public() }
func (s dsseSigner) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(s.k.private.Public().(ed25519.PublicKey), data, sig) {
		return errors.New("the signature is wrong")
	}
	return nil
}
