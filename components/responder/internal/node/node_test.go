package node

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// task makes the state directory of a container, and its process.
func task(t *testing.T, dir, id string, pid int, state, config string) {
	t.Helper()
	write(t, filepath.Join(dir, "run", id, "config.json"), config)
	write(t, filepath.Join(dir, "run", id, "init.pid"), fmt.Sprint(pid))
	write(t, filepath.Join(dir, "proc", fmt.Sprint(pid), "stat"), fmt.Sprintf("%d (a) b) %s 1 2 3", pid, state))
	write(t, filepath.Join(dir, "proc", fmt.Sprint(pid), "ns", "net"), "")
}

const sandboxConfig = `{"annotations":{"io.kubernetes.cri.container-type":"sandbox",
"io.kubernetes.cri.sandbox-name":%q,"io.kubernetes.cri.sandbox-namespace":"default","io.kubernetes.cri.sandbox-uid":"u"},
"linux":{"namespaces":[{"type":"pid"}%s]}}`

const containerConfig = `{"annotations":{"io.kubernetes.cri.container-type":"container",
"io.kubernetes.cri.sandbox-id":"s1","io.kubernetes.cri.container-name":"main","io.kubernetes.cri.image-name":"img:1"}}`

func TestSandboxesOfANode(t *testing.T) {
	dir := t.TempDir()
	pinned := `,{"type":"network","path":"/var/run/netns/cni-1"}`
	task(t, dir, "s1", 10, "S", fmt.Sprintf(sandboxConfig, "a", pinned))
	task(t, dir, "c1", 11, "S", containerConfig)
	task(t, dir, "c0", 12, "Z", containerConfig) // it was restarted; its zombie is still there
	task(t, dir, "s2", 13, "S", fmt.Sprintf(sandboxConfig, "h1", ""))
	write(t, filepath.Join(dir, "run", "half", "config.json"), `{"annotations":`) // being written
	got, err := read(filepath.Join(dir, "run"), filepath.Join(dir, "proc"))
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	a, h := got[0], got[1]
	if a.Pod != "a" || a.HostNetwork || a.NetnsPinned != "/var/run/netns/cni-1" || a.Inode == 0 {
		t.Errorf("got %+v", a)
	}
	if want := []Container{{"c1", "main", 11, "img:1"}}; !reflect.DeepEqual(a.Containers, want) {
		t.Errorf("got %+v", a.Containers)
	}
	if h.Pod != "h1" || !h.HostNetwork {
		t.Errorf("got %+v", h)
	}
}

func TestNodeWithoutContainersHasNoSandboxes(t *testing.T) {
	got, err := read(filepath.Join(t.TempDir(), "none"), "/proc")
	if err != nil || len(got) != 0 {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestOtherEndOfTheCableIsFoundByIndex(t *testing.T) {
	s := &Sandbox{Interfaces: []Link{
		{Name: "lo", Addresses: []string{"127.0.0.1/8"}},
		{Name: "eth0", Index: 2, Peer: 7, Addresses: []string{"fe80::1/64", "10.244.1.2/24"}},
	}}
	s.connect([]Link{{Name: "cni0", Index: 7, Kind: "bridge"}, {Name: "veth1", Index: 2, Kind: "veth"},
		{Name: "veth2", Index: 7, Kind: "veth"}})
	if s.IP != "10.244.1.2" || s.HostVeth != "veth2" {
		t.Fatalf("got %+v", s)
	}
}

func TestAPodHasTheAddressesOfBothFamilies(t *testing.T) {
	for _, c := range []struct{ found, want []string }{
		{[]string{"fd00:10:244:1::2/64", "fe80::1/64", "10.244.1.2/24"}, []string{"10.244.1.2", "fd00:10:244:1::2"}},
		{[]string{"fe80::1/64", "fd00:10:244:1::2/128"}, []string{"fd00:10:244:1::2"}},
		{[]string{"fe80::1/64"}, nil},
	} {
		s := &Sandbox{Interfaces: []Link{{Name: "eth0", Index: 2, Addresses: c.found}}}
		s.connect(nil)
		if !slices.Equal(s.IPs, c.want) || len(c.want) > 0 && s.IP != c.want[0] {
			t.Errorf("of %q: %q, %q", c.found, s.IP, s.IPs)
		}
	}
}

func TestOwnLoopbackIsListed(t *testing.T) {
	found, err := links()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range found {
		if link.Name == "lo" && link.MTU > 0 && link.Index == 1 {
			return
		}
	}
	t.Fatalf("no lo in %+v", found)
}

func TestKindOfALink(t *testing.T) {
	// IFLA_INFO_KIND "veth", then another attribute; and a length that leaves the buffer.
	if got := kind([]byte{9, 0, 1, 0, 'v', 'e', 't', 'h', 0, 0, 0, 0, 4, 0, 2, 0}); got != "veth" {
		t.Errorf("got %q", got)
	}
	if got := kind([]byte{200, 0, 1, 0, 'v'}); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestBatchReadsFilesAndRunsCommands(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "10.244.1.2"), "abc\xff\n")
	read := command{ID: "1", Files: []string{filepath.Join(dir, "*"), "/nonexistent/*"}}.run(t.Context())
	if want := map[string]string{filepath.Join(dir, "10.244.1.2"): "abc\uFFFD\n"}; !reflect.DeepEqual(read.Files, want) {
		t.Errorf("got %+v", read)
	}
	if done := (command{ID: "2", Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}}).run(t.Context()); done.Status != 3 ||
		done.Stdout != "out\n" || done.Stderr != "err\n" {
		t.Errorf("got %+v", done)
	}
	if done := (command{ID: "3", Argv: []string{"/no/such/program"}}).run(t.Context()); done.Status != 127 || done.Stderr == "" {
		t.Errorf("got %+v", done)
	}
	if done := (command{ID: "4", Netns: "/no/such/netns", Argv: []string{"true"}}).run(t.Context()); done.Status != 127 {
		t.Errorf("got %+v: it ran in the wrong namespace", done)
	}
}
