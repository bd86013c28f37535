package sock

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"
)

// Probe makes a connected UDP socket send with DF and queue the errors that come back (ip(7), ipv6(7)): whatever path MTU the
// kernel believes in (IP_PMTUDISC_PROBE), or no more than its route allows (IP_PMTUDISC_DO).
func Probe(c *net.UDPConn, v6, heed bool) error {
	mode := ipPMTUDiscProbe
	if heed {
		mode = syscall.IP_PMTUDISC_DO
	}
	return Control(c, func(fd int) error {
		level, discover, errors := syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_RECVERR
		if v6 {
			level, discover, errors = syscall.IPPROTO_IPV6, ipv6MTUDiscover, ipv6RecvErr
		}
		if err := syscall.SetsockoptInt(fd, level, discover, mode); err != nil {
			return err
		}
		if v6 { // the sender is the only one that could fragment (RFC 3542 §11.2)
			if err := syscall.SetsockoptInt(fd, level, ipv6DontFrag, 1); err != nil {
				return err
			}
		}
		return syscall.SetsockoptInt(fd, level, errors, 1)
	})
}

// QueuedError is an entry of a socket's error queue.
type QueuedError struct {
	Errno    syscall.Errno
	Origin   string // local, icmp, or empty
	Type     int    // of the ICMP message
	Code     int
	MTU      int        // that the message named, for EMSGSIZE
	Reporter netip.Addr // who sent the ICMP message
}

// ReadErrorQueue takes one entry off the error queue; ok is false when it is empty.
func ReadErrorQueue(fd int) (e QueuedError, ok bool) {
	payload, oob := make([]byte, 1), make([]byte, 512)
	_, n, _, _, err := syscall.Recvmsg(fd, payload, oob, syscall.MSG_ERRQUEUE|syscall.MSG_DONTWAIT)
	if err != nil {
		return QueuedError{}, false
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return QueuedError{}, false
	}
	for _, m := range messages {
		v4 := m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_RECVERR
		v6 := m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == ipv6RecvErr
		if v4 || v6 {
			return ParseQueuedError(m.Data)
		}
	}
	return QueuedError{}, false
}

// ParseQueuedError reads struct sock_extended_err and the address of the offender behind it (linux/errqueue.h).
func ParseQueuedError(b []byte) (e QueuedError, ok bool) {
	if len(b) < extendedErrLen {
		return QueuedError{}, false
	}
	e.Errno = syscall.Errno(binary.NativeEndian.Uint32(b))
	switch b[4] {
	case originLocal:
		e.Origin = "local"
	case originICMP, originICMP6:
		e.Origin = "icmp"
	}
	e.Type, e.Code = int(b[5]), int(b[6])
	if e.Errno == syscall.EMSGSIZE {
		e.MTU = int(binary.NativeEndian.Uint32(b[8:]))
	}
	if offender := b[extendedErrLen:]; e.Origin == "icmp" && len(offender) >= 8 {
		switch binary.NativeEndian.Uint16(offender) {
		case syscall.AF_INET:
			e.Reporter = netip.AddrFrom4([4]byte(offender[sockaddrAddrOffset:8]))
		case syscall.AF_INET6:
			if len(offender) >= 24 {
				e.Reporter = netip.AddrFrom16([16]byte(offender[8:24])).Unmap()
			}
		}
	}
	return e, true
}

// PathMTU is the MTU that the kernel believes in for a connected socket; 0 when it does not say.
func PathMTU(c *net.UDPConn, v6 bool) int {
	level, option := syscall.IPPROTO_IP, ipMTU
	if v6 {
		level, option = syscall.IPPROTO_IPV6, ipv6MTU
	}
	var value int32
	size := uint32(unsafe.Sizeof(value))
	err := Control(c, func(fd int) error {
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
			uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return int(value)
}
