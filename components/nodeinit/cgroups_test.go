package main

import (
	"slices"
	"testing"
)

// A container that does not see cgroup v2: its own group there is no lab's.
const inContainer = `9:name=systemd:/cnilab/lab.12345678/n1
4:memory:/docker/abc/cnilab/lab.12345678/n1
2:cpu,cpuacct:/cnilab/lab.12345678/n1
0::/
`

var groups = []string{
	"/sys/fs/cgroup/systemd/cnilab/lab.12345678/n1",
	"/sys/fs/cgroup/memory/cnilab/lab.12345678/n1",
	"/sys/fs/cgroup/cpu,cpuacct/cnilab/lab.12345678/n1",
}

func TestOnlyHierarchiesOfTheLabsGroupsCount(t *testing.T) {
	if found := hierarchiesOf(inContainer, groups); !slices.Equal(found, []string{"9", "4", "2"}) {
		t.Errorf("found %v", found)
	}
	if found := hierarchiesOf("0::/cnilab/lab.12345678/n11\n", groups); len(found) != 0 {
		t.Errorf("another machine's group was taken: %v", found)
	}
	if found := hierarchiesOf("0::/payload/cnilab/lab.12345678/n1\n", groups); !slices.Equal(found, []string{"0"}) {
		t.Errorf("a group within a container's was not found: %v", found)
	}
}

// What the node's PID 1 sees in its own cgroup namespace.
func TestANodeMountsWhatItHasAGroupIn(t *testing.T) {
	const hybrid = "9:name=systemd:/\n2:cpu,cpuacct:/\n0::/\n"
	v1 := []cgroupMount{
		{target: "/sys/fs/cgroup/systemd", options: "none,name=systemd"},
		{target: "/sys/fs/cgroup/cpu,cpuacct", options: "cpu,cpuacct"},
	}
	v2 := cgroupMount{target: "/sys/fs/cgroup/unified", unified: true, hybrid: true}
	for _, one := range []struct {
		text        string
		hierarchies []string
		mounts      []cgroupMount
	}{
		{hybrid, []string{"9", "2", "0"}, append(slices.Clone(v1), v2)},
		{hybrid, []string{"9", "2"}, v1},
		{"0::/\n", []string{"0"}, []cgroupMount{{target: "/sys/fs/cgroup", unified: true}}},
		{"0::/\n", nil, nil},
	} {
		if found := mountsOf(one.text, one.hierarchies); !slices.Equal(found, one.mounts) {
			t.Errorf("%v of %q: %v", one.hierarchies, one.text, found)
		}
	}
}
