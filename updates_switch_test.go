package evergreen

import (
	"context"
	"testing"
	"time"
)

// What is usual is not learnt from an executable on trial.
func TestObserverRestsWhileJudging(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	o := observer{changed: make(chan struct{}, 1)}
	began, ended := make(chan struct{}, 10), make(chan struct{}, 10)
	done := make(chan struct{})
	o.settled = time.Millisecond
	go func() {
		defer close(done)
		o.run(ctx, func(ctx context.Context) {
			began <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
		}, func() bool { return false })
	}()
	<-began
	o.judge(true)
	<-ended
	select {
	case <-began:
		t.Error("it observes while it is judged")
	case <-time.After(50 * time.Millisecond):
	}
	o.judge(false)
	<-began
	cancel()
	<-ended
	<-done
}
