// Package rollout decides which instances a release has reached.
//
// In come a maintainer's words: begin with a share of all instances, raise it,
// pause, resume, stop. Out comes, for an instance, which releases it is not to
// be offered yet. A release without a rollout is for everybody.
//
// # Guarantees
//
// Who is reached depends on the rollout's id, the instance's id and the share
// alone: the same instance gets the same answer from every server and after
// every restart, and who was reached stays so while the share grows. There is no
// list of instances and no counter, so nothing to race for.
//
// Every change is kept with who made it, when and why. The health gate is to be
// one more who: it calls Pause and Ramp as a person does.
package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Rollout brings a release to a growing share of instances.
type Rollout struct {
	ID      string    `json:"id"`      // 16 hexadecimal digits
	Path    string    `json:"path"`    // of the release's module
	Version string    `json:"version"` // of the release
	Share   float64   `json:"share"`   // of all instances, 0 to 1, in millionths
	State   State     `json:"state"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
	History []Event   `json:"history,omitempty"` // the oldest first
}

// A State is how a rollout stands.
type State string

const (
	Running State = "running" // offered to who is reached
	Paused  State = "paused"  // offered to nobody for now
	Stopped State = "stopped" // offered to nobody, for good
)

// An Event is a change of a rollout.
type Event struct {
	Time  time.Time `json:"time"`
	By    string    `json:"by"`
	What  string    `json:"what"` // "create", "ramp", "pause", "resume", "stop"
	Share float64   `json:"share"`
	Why   string    `json:"why,omitempty"`
}

// Reached tells whether the rollout's share includes an instance, whatever its
// state: if the hash of both ids, as a fraction of its range, is below the share.
// Who has no id is reached when all are.
func (r Rollout) Reached(id wire.InstanceID) bool {
	if id == (wire.InstanceID{}) {
		return r.Share >= 1
	}
	h := sha256.New()
	fmt.Fprintf(h, "evergreen rollout v1\x00%s\x00", r.ID)
	h.Write(id[:])
	at := float64(binary.BigEndian.Uint64(h.Sum(nil))>>11) / (1 << 53)
	return at < r.Share
}

// Offers tells whether an instance is offered the release.
func (r Rollout) Offers(id wire.InstanceID) bool { return r.State == Running && r.Reached(id) }

// A Held release is not offered to an instance.
type Held struct {
	Path, Version string
	Why           string // "its rollout has reached 5 % of instances", "its rollout is paused"
}

// held lists what is not offered, of rollouts in a fixed order.
func held(rollouts []Rollout, id wire.InstanceID) (hs []Held) {
	for _, r := range rollouts {
		if r.Offers(id) {
			continue
		}
		h := Held{Path: r.Path, Version: r.Version}
		if r.State == Running {
			h.Why = fmt.Sprintf("its rollout has reached %s of instances", percent(r.Share))
		} else {
			h.Why = "its rollout is " + string(r.State)
		}
		hs = append(hs, h)
	}
	return hs
}

// Shares are kept in millionths, so that they are the same in every engine.
func millionths(share float64) int64 { return int64(math.Round(share * 1e6)) }

func fraction(millionths int64) float64 { return float64(millionths) / 1e6 }

func percent(share float64) string { return fmt.Sprintf("%.4g %%", 100*share) }

func checkShare(share float64) error {
	if math.IsNaN(share) || share < 0 || share > 1 {
		return refused("share is %g: it is a fraction from 0 to 1, such as 0.05 for 5 %%", share)
	}
	return nil
}

// order puts the newest first.
func order(rollouts []Rollout) {
	slices.SortFunc(rollouts, func(a, b Rollout) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return slices.Compare([]byte(a.ID), []byte(b.ID))
	})
}
