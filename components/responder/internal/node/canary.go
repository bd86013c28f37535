package node

import (
	"encoding/binary"
	"errors"
	"net"
	"syscall"
)

// canaryType is the first EtherType for local experiments (IEEE 802): nothing routes or answers it.
const canaryType = 0x88b5

// canaryDst is a locally administered unicast address that nobody has.
var canaryDst = [6]byte{0x02, 0, 0, 0, 0, 0x01}

// Canary is `responder canary INTERFACE MARK`: it sends one marked frame out of an interface. A capture that shows the
// frame was listening, and has everything that came before it.
func Canary(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: responder canary INTERFACE MARK")
	}
	device, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	frame := make([]byte, 60)
	copy(frame, canaryDst[:])
	copy(frame[6:], device.HardwareAddr)
	binary.BigEndian.PutUint16(frame[12:], canaryType)
	copy(frame[14:], args[1])
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return syscall.Sendto(fd, frame, 0, &syscall.SockaddrLinklayer{Ifindex: device.Index})
}
