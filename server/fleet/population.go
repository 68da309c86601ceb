package fleet

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A weighted is a name with its share, of whatever all shares sum to.
type weighted struct {
	name   string
	weight float64
}

// A country has its time zone, in hours east of Greenwich.
type country struct {
	name   string
	weight float64
	zone   float64
	asn    uint32
}

// countries are where instances are. "" is unknown. The numbers of networks
// are from the range for documentation (RFC 5398).
var countries = []country{
	{"US", 21, -6, 64496}, {"DE", 18, 1, 64497}, {"FR", 7.5, 1, 64498}, {"NL", 6.5, 1, 64499}, {"GB", 5.5, 0, 64500}, {"CA", 4, -5, 64501},
	{"JP", 3.6, 9, 64502}, {"SG", 3.3, 8, 64503}, {"FI", 3, 2, 64504}, {"AU", 2.4, 10, 64505}, {"BR", 2.4, -3, 64506}, {"IN", 2.3, 5.5, 64507},
	{"SE", 2, 1, 64508}, {"PL", 1.8, 1, 64509}, {"CH", 1.7, 1, 64510}, {"IT", 1.6, 1, 64511}, {"ES", 1.5, 1, 65536}, {"HK", 1.4, 8, 65537},
	{"", 1.3, 0, 0}, {"KR", 1.2, 9, 65538}, {"AT", 1.1, 1, 65539}, {"BE", 0.9, 1, 65540}, {"CZ", 0.9, 1, 65541}, {"NO", 0.8, 1, 65542},
	{"DK", 0.8, 1, 65543}, {"UA", 0.7, 2, 65544}, {"TR", 0.6, 3, 65545}, {"ZA", 0.6, 2, 65546}, {"RO", 0.5, 2, 65547}, {"TW", 0.5, 8, 65548},
	{"MX", 0.5, -6, 65549}, {"ID", 0.4, 7, 65550}, {"PT", 0.4, 0, 65551}, {"IE", 0.4, 0, 65536}, {"NZ", 0.3, 12, 65537}, {"AR", 0.25, -3, 65538},
	{"VN", 0.2, 7, 65539}, {"KE", 0.08, 3, 65540}, {"EE", 0.06, 2, 65541}, {"IS", 0.02, 0, 65542},
}

var (
	platforms   = []weighted{{"linux/amd64", 70}, {"linux/arm64", 21}, {"windows/amd64", 3.5}, {"darwin/arm64", 2.5}, {"freebsd/amd64", 2}, {"linux/arm", 1}}
	deployments = []weighted{{"production", 71}, {"local", 11}, {"internal", 12}, {"unknown", 6}}
)

// A policy is how an instance updates: after a release it waits for an
// exponentially distributed time of this mean, in hours; 0 is never.
type policy struct {
	share, mean float64
}

var policies = []policy{{44, 30}, {26, 10 * 24}, {21, 50 * 24}, {9, 0}}

// automatic is the policy of those that update themselves.
const automatic = 0

// An instance is one of the fleet.
type instance struct {
	id         wire.InstanceID
	hash       uint64 // for registers, as package aggregate has it
	seed       uint64
	born, died int64 // Unix hours; died is after the end for those that stay
	weight     float64
	country    uint8
	platform   uint8
	deployment uint8
	policy     uint8
	upgrades   []upgrade // by time; the first is what it began with
	facts      []uint16  // that never change
}

type upgrade struct {
	at      int64
	version uint8
}

// version is the index of what the instance runs in an hour.
func (in *instance) version(h int64) uint8 {
	v := in.upgrades[0].version
	for _, u := range in.upgrades[1:] {
		if u.at > h {
			break
		}
		v = u.version
	}
	return v
}

func (in *instance) alive(h int64) bool { return in.born <= h && h < in.died }

// key is the instance's own.
func (f *Fleet) key(i int) ed25519.PrivateKey {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], f.cfg.Seed)
	binary.LittleEndian.PutUint64(b[8:], uint64(i))
	seed := sha256.Sum256(append([]byte("evergreen simulated instance"), b[:]...))
	return ed25519.NewKeyFromSeed(seed[:])
}

const (
	early = 0.62 // of the instances are there from the beginning
	// leavers is how many more instances there are in 90 days that are gone at
	// the end, for each that is there.
	leavers = 0.22
)

// populate makes up all instances. An instance follows from its number alone.
func (f *Fleet) populate() []instance {
	more := leavers * float64(f.end-f.begin) / (90 * 24)
	n := f.cfg.Instances + int(math.Round(more*float64(f.cfg.Instances)))
	pop := make([]instance, n)
	var wg sync.WaitGroup
	const share = 256
	starts := make(chan int, n/share+1)
	for i := 0; i < n; i += share {
		starts <- i
	}
	close(starts)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for start := range starts {
				for i := start; i < min(start+share, n); i++ {
					pop[i] = f.instance(i)
				}
			}
		})
	}
	wg.Wait()
	return pop
}

func (f *Fleet) instance(i int) instance {
	rng := rand.New(rand.NewPCG(f.cfg.Seed+1, uint64(i)))
	id := wire.IDOf(f.key(i).Public().(ed25519.PublicKey))
	in := instance{id: id, hash: binary.BigEndian.Uint64(id[:]), seed: rng.Uint64()}
	length := f.end - f.begin
	in.born, in.died = f.begin-1-rng.Int64N(400*24), math.MaxInt64
	if rng.Float64() > early {
		// Slowly faster, and never in the last hour: it would not have reported.
		in.born = f.begin + int64(float64(length-1)*math.Pow(rng.Float64(), 0.85))
	}
	if i >= f.cfg.Instances {
		in.born = f.begin - 1 + rng.Int64N(length) - rng.Int64N(length)
		in.died = max(in.born, f.begin) + 1 + rng.Int64N(max(f.end-max(in.born, f.begin)-1, 1))
	}
	in.country = uint8(pick(rng, len(countries), func(i int) float64 { return countries[i].weight }))
	in.platform = uint8(pick(rng, len(platforms), func(i int) float64 { return platforms[i].weight }))
	in.deployment = uint8(pick(rng, len(deployments), func(i int) float64 { return deployments[i].weight }))
	in.policy = uint8(pick(rng, len(policies), func(i int) float64 { return policies[i].share }))
	// Most are small: the median serves about 12 requests a minute, the mean 60.
	in.weight = 0.2 * math.Exp(1.8*rng.NormFloat64())
	if deployments[in.deployment].name != "production" {
		in.weight *= 0.1
	}
	in.upgrades = f.upgradesOf(rng, in.born, policies[in.policy])
	in.facts = f.facts.of(rng, &in)
	return in
}

func (f *Fleet) upgradesOf(rng *rand.Rand, born int64, p policy) []upgrade {
	var all []upgrade
	for v, r := range f.releases {
		at := r.at
		if p.mean > 0 {
			at += 2 + int64(rng.ExpFloat64()*p.mean)
		}
		all = append(all, upgrade{at, uint8(v)})
	}
	// Who never updates keeps one of the releases that there were when it was set up.
	first := 0
	for v, r := range f.releases {
		if r.at <= born {
			first = v
		}
	}
	if p.mean == 0 {
		if back := rng.IntN(4); first > back {
			first -= back
		}
		return []upgrade{{born, uint8(first)}}
	}
	ups := []upgrade{{born, uint8(first)}}
	slices.SortStableFunc(all, func(a, b upgrade) int { return int(a.at - b.at) })
	for _, u := range all {
		last := &ups[len(ups)-1]
		switch {
		case u.version <= last.version:
		case u.at <= born:
			last.version = u.version
		default:
			ups = append(ups, u)
		}
	}
	return ups
}

// pick draws one of n by their weights.
func pick(rng *rand.Rand, n int, weight func(int) float64) int {
	var total float64
	for i := range n {
		total += weight(i)
	}
	x := rng.Float64() * total
	for i := range n {
		if x -= weight(i); x < 0 {
			return i
		}
	}
	return n - 1
}
