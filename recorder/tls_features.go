package recorder

import (
	"math/bits"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Features is what a connection has: a bit for each value of wire.ConnectionFeature.
type Features uint32

// The features.
var (
	FeatureAll         = featureBit("all")
	FeatureTLS         = featureBit("tls")
	FeatureSNI         = featureBit("sni")
	FeatureECHOffered  = featureBit("ech_offered")
	FeatureECHAccepted = featureBit("ech_accepted")
	FeatureIPv6        = featureBit("ipv6")
	FeatureHTTP3       = featureBit("http3")
	FeaturePQOffered   = featureBit("pq_offered")
	FeaturePQ          = featureBit("pq_negotiated")
	FeatureTLS13       = featureBit("tls13")
	FeatureResumed     = featureBit("resumed")
	FeatureEarlyData   = featureBit("early_data")
)

func featureBit(name string) Features { return 1 << wire.ConnectionFeature.Value(name) }

// ConnectionFeatures counts a connection at its first request.
func (r *Recorder) ConnectionFeatures(f Features, family wire.Value) {
	r.countFeatures(&r.connFeatures, f, family)
}

func (r *Recorder) countFeatures(m *metric, f Features, family wire.Value) {
	if f == 0 || r.isOff(m) {
		return
	}
	s := r.stripe()
	for rest := uint32(f); rest != 0; rest &= rest - 1 {
		s[m.cell2(wire.Value(bits.TrailingZeros32(rest)), family)].Add(1)
	}
}
