package evergreen

import (
	"context"
	"errors"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/updater/rehearse"
)

// rehearseCandidate rehearses a candidate beside this process, whose running
// configuration is live. The report is what differs; "" is that they agree.
// env is what the candidate's environment has besides ours: see boot.Env.
func rehearseCandidate(ctx context.Context, c updater.Candidate, live []byte, scratch string, env []string) (report string, err error) {
	err = guard("rehearse", func() error {
		r, err := rehearse.Run(ctx, rehearse.Config{
			Executable: c.Path, Version: c.Version, Live: live, Scratch: scratch, Env: env,
		})
		report = r.String()
		return err
	})
	var failed *rehearse.Error
	if errors.As(err, &failed) {
		return "", &updater.Error{Cause: rehearsalCause(failed.Kind), Lasting: failed.Kind == rehearse.Modules, Err: err}
	}
	return report, err
}

func rehearsalCause(k rehearse.Kind) updater.Cause {
	switch k {
	case rehearse.Execute:
		return updater.CauseExecute
	case rehearse.Modules:
		return updater.CauseModules
	}
	return updater.CauseRehearsal
}
