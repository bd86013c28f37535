package node

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// Attributes of linux/if_link.h that package syscall does not name.
const (
	iflaLinkinfo  = 18
	iflaInfoKind  = 1
	nlaTypeMask   = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
	iflaOperstate = 16
)

var operStates = []string{"UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"}

// Link is a network interface with its addresses.
type Link struct {
	Name      string   `json:"name"`
	Index     int      `json:"index"`
	Peer      int      `json:"peer_index,omitempty"` // IFLA_LINK: of the other end of a veth, in its namespace
	Kind      string   `json:"kind,omitempty"`
	MTU       int      `json:"mtu"`
	MAC       string   `json:"mac,omitempty"`
	State     string   `json:"state"`
	Addresses []string `json:"addresses"`
}

// links lists the interfaces of the network namespace of the calling thread.
func links() ([]Link, error) {
	var found []Link
	messages, err := netlink(syscall.RTM_GETLINK)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if m.Header.Type == syscall.RTM_NEWLINK && len(m.Data) >= syscall.SizeofIfInfomsg {
			found = append(found, readLink(m))
		}
	}
	if messages, err = netlink(syscall.RTM_GETADDR); err != nil {
		return nil, err
	}
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWADDR || len(m.Data) < syscall.SizeofIfAddrmsg {
			continue
		}
		index := int(binary.NativeEndian.Uint32(m.Data[4:]))
		for i := range found {
			if found[i].Index == index {
				found[i].Addresses = append(found[i].Addresses, readAddress(m))
			}
		}
	}
	return found, nil
}

func netlink(request int) ([]syscall.NetlinkMessage, error) {
	data, err := syscall.NetlinkRIB(request, syscall.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("netlink request %d: %w", request, err)
	}
	return syscall.ParseNetlinkMessage(data)
}

func readLink(m syscall.NetlinkMessage) Link {
	link := Link{Index: int(binary.NativeEndian.Uint32(m.Data[4:])), Addresses: []string{}}
	attributes, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return link
	}
	for _, a := range attributes {
		switch a.Attr.Type & nlaTypeMask {
		case syscall.IFLA_IFNAME:
			link.Name = text(a.Value)
		case syscall.IFLA_MTU:
			link.MTU = number(a.Value)
		case syscall.IFLA_LINK:
			link.Peer = number(a.Value)
		case syscall.IFLA_ADDRESS:
			link.MAC = net.HardwareAddr(a.Value).String()
		case iflaOperstate:
			if len(a.Value) > 0 && int(a.Value[0]) < len(operStates) {
				link.State = operStates[a.Value[0]]
			}
		case iflaLinkinfo:
			link.Kind = kind(a.Value)
		}
	}
	if link.Name == "lo" {
		link.Kind = "loopback"
	}
	return link
}

// kind finds IFLA_INFO_KIND in the nested attributes of IFLA_LINKINFO.
func kind(b []byte) string {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return ""
		}
		if binary.NativeEndian.Uint16(b[2:])&nlaTypeMask == iflaInfoKind {
			return text(b[4:size])
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return ""
}

// readAddress gives an address with its prefix length; IFA_LOCAL counts where it differs from IFA_ADDRESS (ptp).
func readAddress(m syscall.NetlinkMessage) string {
	attributes, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return ""
	}
	var address, local netip.Addr
	for _, a := range attributes {
		switch a.Attr.Type & nlaTypeMask {
		case syscall.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(a.Value)
		case syscall.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(a.Value)
		}
	}
	if local.IsValid() {
		address = local
	}
	return netip.PrefixFrom(address, int(m.Data[1])).String()
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func number(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(b))
}
