package agent

import (
	"net"
	"os"
	"syscall"
	"testing"
)

func dialled(call string, errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError(call, errno)}
}

func TestARouteThatLeadsNowhereIsUnreachable(t *testing.T) {
	for _, call := range []string{"connect", "sendto", "sendmsg", "write"} {
		if got := failure(dialled(call, syscall.EINVAL)); got.Outcome != unreachable || got.Errno != int(syscall.EINVAL) {
			t.Errorf("%s: %+v", call, got)
		}
	}
}

func TestWhatTheProgramDidWrongIsNoVerdictOnTheNetwork(t *testing.T) {
	for _, err := range []error{dialled("bind", syscall.EINVAL), dialled("setsockopt", syscall.EINVAL), syscall.EINVAL} {
		if got := failure(err); got.Outcome != other {
			t.Errorf("%v: %+v", err, got)
		}
	}
}
