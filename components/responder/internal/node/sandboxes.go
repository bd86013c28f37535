// Package node looks at a node from within: which pods run on it, and what their network namespaces hold.
package node

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

// Container is a running container of a pod.
type Container struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Image string `json:"image"`
}

// Sandbox is a pod as containerd knows it.
type Sandbox struct {
	ID          string      `json:"id"`
	Pod         string      `json:"pod"`
	Namespace   string      `json:"namespace"`
	UID         string      `json:"uid"`
	PID         int         `json:"pid"`
	Netns       string      `json:"netns"`
	NetnsPinned string      `json:"netns_pinned,omitempty"`
	Inode       uint64      `json:"inode"`
	HostNetwork bool        `json:"host_network"`
	IP          string      `json:"ip,omitempty"`
	IPs         []string    `json:"ips,omitempty"` // those of IPv4 first
	HostVeth    string      `json:"host_veth,omitempty"`
	Interfaces  []Link      `json:"interfaces"`
	Containers  []Container `json:"containers"`
}

// bundle is the part of an OCI runtime configuration that is needed here.
type bundle struct {
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		Namespaces []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
	} `json:"linux"`
}

const annotation = "io.kubernetes.cri."

// Sandboxes is `responder sandboxes`: it prints the pods of the node as a JSON list.
func Sandboxes(args []string) error {
	flags := flag.NewFlagSet("sandboxes", flag.ContinueOnError)
	root := flags.String("root", "/run/containerd/io.containerd.runtime.v2.task/k8s.io", "containerd's task directory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	sandboxes, err := read(*root, "/proc")
	if err != nil {
		return err
	}
	lookInside(sandboxes)
	return json.NewEncoder(os.Stdout).Encode(sandboxes)
}

// read finds sandboxes and containers whose process lives; a node without any has no directory yet.
func read(root, proc string) ([]*Sandbox, error) {
	paths, err := filepath.Glob(filepath.Join(root, "*", "config.json"))
	if err != nil {
		return nil, err
	}
	byID := map[string]*Sandbox{}
	members := map[string][]Container{}
	for _, path := range paths {
		id := filepath.Base(filepath.Dir(path))
		pid, alive := initPID(filepath.Dir(path), proc)
		config, err := readBundle(path)
		if err != nil || !alive {
			continue // it is just being made or removed
		}
		notes := config.Annotations
		if notes[annotation+"container-type"] == "sandbox" {
			byID[id] = config.sandbox(id, pid, proc)
			continue
		}
		owner := notes[annotation+"sandbox-id"]
		members[owner] = append(members[owner],
			Container{ID: id, Name: notes[annotation+"container-name"], PID: pid, Image: notes[annotation+"image-name"]})
	}
	list := make([]*Sandbox, 0, len(byID))
	for id, sandbox := range byID {
		sandbox.Containers = append(sandbox.Containers, members[id]...)
		sort.Slice(sandbox.Containers, func(i, j int) bool { return sandbox.Containers[i].PID < sandbox.Containers[j].PID })
		list = append(list, sandbox)
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].Namespace+"/"+list[i].Pod+"/"+list[i].ID < list[j].Namespace+"/"+list[j].Pod+"/"+list[j].ID
	})
	return list, nil
}

func readBundle(path string) (bundle, error) {
	var config bundle
	data, err := os.ReadFile(path)
	if err != nil {
		return config, err
	}
	return config, json.Unmarshal(data, &config)
}

func (b bundle) sandbox(id string, pid int, proc string) *Sandbox {
	s := &Sandbox{
		ID: id, PID: pid, HostNetwork: true,
		Pod:        b.Annotations[annotation+"sandbox-name"],
		Namespace:  b.Annotations[annotation+"sandbox-namespace"],
		UID:        b.Annotations[annotation+"sandbox-uid"],
		Netns:      fmt.Sprintf("%s/%d/ns/net", proc, pid),
		Inode:      inode(fmt.Sprintf("%s/%d/ns/net", proc, pid)),
		Interfaces: []Link{}, Containers: []Container{},
	}
	for _, namespace := range b.Linux.Namespaces {
		if namespace.Type == "network" {
			s.HostNetwork, s.NetnsPinned = false, namespace.Path
		}
	}
	return s
}

// initPID is the container's first process, and whether it is there and no zombie.
func initPID(dir, proc string) (int, bool) {
	data, err := os.ReadFile(filepath.Join(dir, "init.pid"))
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("%s/%d/stat", proc, pid))
	if err != nil {
		return pid, false
	}
	// pid (comm) state …: comm may hold anything, also parentheses.
	after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
	fields := strings.Fields(after)
	return pid, len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
}

func inode(path string) uint64 {
	var stat syscall.Stat_t
	if syscall.Stat(path, &stat) != nil {
		return 0
	}
	return stat.Ino
}

// lookInside fills in interfaces, address and the node's end of the cable.
func lookInside(sandboxes []*Sandbox) {
	hostLinks, err := links()
	if err != nil {
		fmt.Fprintf(os.Stderr, "responder sandboxes: %v\n", err)
	}
	for _, s := range sandboxes {
		if s.HostNetwork {
			continue
		}
		err := inNetns(s.Netns, func() (err error) {
			s.Interfaces, err = links()
			return err
		})
		if err != nil {
			fmt.Fprintf(os.Stderr, "responder sandboxes: pod %s/%s: %v\n", s.Namespace, s.Pod, err)
			continue
		}
		s.connect(hostLinks)
	}
}

// connect finds eth0's addresses and, by interface index, its other end. The index is that of the peer in the node's
// namespace; seen from the node alone it would be ambiguous, for every pod's eth0 may have the same index.
func (s *Sandbox) connect(hostLinks []Link) {
	for _, link := range s.Interfaces {
		if link.Name != "eth0" {
			continue
		}
		s.IPs = global(link.Addresses)
		if len(s.IPs) > 0 {
			s.IP = s.IPs[0]
		}
		for _, host := range hostLinks {
			if host.Index == link.Peer && host.Kind == "veth" {
				s.HostVeth = host.Name
			}
		}
	}
}

// global are the addresses under which others reach a link, without prefix length, those of IPv4 first.
func global(addresses []string) []string {
	var four, six []string
	for _, address := range addresses {
		prefix, err := netip.ParsePrefix(address)
		switch {
		case err != nil || prefix.Addr().IsLinkLocalUnicast():
		case prefix.Addr().Is4():
			four = append(four, prefix.Addr().String())
		default:
			six = append(six, prefix.Addr().String())
		}
	}
	return append(four, six...)
}
