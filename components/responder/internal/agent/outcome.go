package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
)

// Outcomes, as the catalogue of the suite names them.
const (
	okay        = "ok"
	timeout     = "timeout"
	refused     = "refused"
	unreachable = "unreachable"
	msgsize     = "msgsize"
	reset       = "reset"
	short       = "short"
	corrupt     = "corrupt"
	other       = "error"
)

// failure is the result of an error: the outcome is what a reader understands, the errno is what the kernel said.
func failure(err error) Result {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return Result{Outcome: timeout, Errno: int(syscall.ETIMEDOUT)}
	case errors.As(err, &errno) && errno == syscall.EINVAL && sends(err):
		return Result{Outcome: unreachable, Errno: int(errno), Detail: err.Error()}
	case errors.As(err, &errno):
		return Result{Outcome: outcomeOf(errno), Errno: int(errno), Detail: err.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Result{Outcome: short, Detail: "the connection was closed before an answer came"}
	}
	return Result{Outcome: other, Detail: err.Error()}
}

// sends tells whether the kernel refused to send: with EINVAL it does so for a route of type blackhole
// (net/ipv4/fib_semantics.c, fib_props), and elsewhere EINVAL is a mistake of the program.
func sends(err error) bool {
	var call *os.SyscallError
	if !errors.As(err, &call) {
		return false
	}
	return call.Syscall == "connect" || call.Syscall == "sendto" || call.Syscall == "sendmsg" || call.Syscall == "write"
}

func outcomeOf(errno syscall.Errno) string {
	switch errno {
	case syscall.ETIMEDOUT:
		return timeout
	case syscall.ECONNREFUSED, syscall.EPERM: // EPERM: refused on the spot, by a rule or a program at connect(2)
		return refused
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN,
		syscall.EACCES: // "administratively prohibited", where IPv4 has EHOSTUNREACH (net/ipv6/icmp.c, tab_unreach)
		return unreachable
	case syscall.EMSGSIZE:
		return msgsize
	case syscall.ECONNRESET, syscall.EPIPE:
		return reset
	}
	return other
}
