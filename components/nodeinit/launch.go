package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// File descriptors that launch hands to init, after standard input, output and error.
const (
	fdReady    = 3 // init writes "ok" or an error, then closes it
	fdListener = 4 // a listening socket of the host's network namespace, when there is one
)

type launched struct {
	Pid  int `json:"pid"`
	Port int `json:"port,omitempty"`
}

// launch joins the cgroups first: from then on whoever tears the lab down finds this process and all its children,
// even if the harness is killed before it could write their PIDs down.
func launch(path string) error {
	spec, err := readSpec(path)
	if err != nil {
		return err
	}
	for _, dir := range spec.Cgroups {
		if err := enter(dir); err != nil {
			return err
		}
	}
	if spec.Hierarchies, err = joined(spec.Cgroups); err != nil {
		return err
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	ready, readyChild, err := os.Pipe()
	if err != nil {
		return err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	result := launched{}
	child := exec.Command("/proc/self/exe", "init", spec.Root)
	child.Stdout, child.Stderr = log, log
	told, err := child.StdinPipe()
	if err != nil {
		return err
	}
	child.ExtraFiles = []*os.File{readyChild}
	if spec.Listen != "" {
		listener, file, err := listen(spec.Listen)
		if err != nil {
			return err
		}
		result.Port = listener.Addr().(*net.TCPAddr).Port
		child.ExtraFiles = append(child.ExtraFiles, file)
	}
	child.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWNET | syscall.CLONE_NEWCGROUP,
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("new namespaces: %w", err)
	}
	result.Pid = child.Process.Pid
	readyChild.Close()
	if err := stepAside(spec.Cgroups); err != nil {
		return err
	}
	if _, err := told.Write(text); err != nil {
		return err
	}
	told.Close()
	answer, err := io.ReadAll(ready)
	if err != nil {
		return err
	}
	if string(answer) != "ok" {
		_ = child.Process.Kill()
		_ = child.Wait()
		return errors.New(strings.TrimSpace("node did not come up: " + string(answer)))
	}
	if err := writeWhole(spec.PidFile, []byte(strconv.Itoa(result.Pid)+"\n")); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// enter makes a cgroup with all levels above it and moves this process into it. Tear-down of another lab removes the
// top group when that is empty, which it is for a moment while this lab begins: then it is made again.
func enter(dir string) error {
	err := makeAndJoin(dir)
	for attempt := 0; attempt < 50 && (errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV)); attempt++ {
		time.Sleep(10 * time.Millisecond)
		err = makeAndJoin(dir)
	}
	return err
}

func makeAndJoin(dir string) error {
	above := levels(dir)
	if len(above) == 0 {
		return fmt.Errorf("%s: %w", filepath.Dir(dir), os.ErrNotExist)
	}
	for _, level := range append([]string{filepath.Dir(above[0])}, above[:len(above)-1]...) {
		if err := os.MkdirAll(level, 0o755); err != nil {
			return err
		}
		if err := delegate(level); err != nil {
			return err
		}
	}
	return joinCgroup(dir)
}

func listen(address string) (net.Listener, *os.File, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	file, err := listener.(*net.TCPListener).File()
	return listener, file, err
}

// joinCgroup makes a cgroup and moves this process into it.
//
// Every level is seen to, also one that is already there: another machine of the lab may have made it a moment ago and
// not have filled it yet.
func joinCgroup(dir string) error {
	for _, level := range levels(dir) {
		if err := os.Mkdir(level, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(filepath.Dir(level), level, name); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
}

// joined lists the hierarchies in which this process is in one of the given groups. A container may be in more than it
// sees: what its node mounted of those would be the container's group, or the machine's, with the processes in there.
func joined(groups []string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	return hierarchiesOf(string(text), groups), nil
}

// hierarchiesOf is joined, of the text of a /proc/PID/cgroup. A group is found by its last two names, the lab's and the
// machine's: what is above them depends on what is mounted where.
func hierarchiesOf(text string, groups []string) []string {
	var found []string
	for _, line := range strings.Split(text, "\n") {
		fields := strings.SplitN(line, ":", 3)
		for _, group := range groups {
			lab, machine := filepath.Base(filepath.Dir(group)), filepath.Base(group)
			if len(fields) == 3 && strings.HasSuffix(fields[2], "/"+lab+"/"+machine) {
				found = append(found, fields[0])
				break
			}
		}
	}
	return found
}

// stepAside leaves the node's v2 groups to the node: a group with processes of its own cannot hand controllers down.
// The leaf beside them still belongs to the lab.
func stepAside(groups []string) error {
	for _, group := range groups {
		if !exists(filepath.Join(group, "cgroup.controllers")) {
			continue
		}
		if err := joinCgroup(filepath.Join(filepath.Dir(group), "launcher")); err != nil {
			return err
		}
	}
	return nil
}

// levels lists a group and its ancestors below the hierarchy's root, the topmost first.
func levels(dir string) []string {
	var found []string
	// In this order: a parent that somebody else makes between the two questions is a group by the second one.
	for ; !exists(filepath.Dir(dir)) || isGroup(filepath.Dir(dir)); dir = filepath.Dir(dir) {
		found = append([]string{dir}, found...)
	}
	return found
}

func isGroup(dir string) bool { return exists(filepath.Join(dir, "cgroup.procs")) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// inherit gives a level of a v1 cpuset its parent's processors or memory nodes: a new group has none, and refuses
// members with "no space left on device".
func inherit(parent, child, name string) error {
	own, err := os.ReadFile(filepath.Join(child, name))
	if errors.Is(err, os.ErrNotExist) || len(bytes.TrimSpace(own)) > 0 {
		return nil // not a v1 cpuset, or filled already
	}
	if err != nil {
		return err
	}
	value, err := os.ReadFile(filepath.Join(parent, name))
	if errors.Is(err, os.ErrNotExist) || len(bytes.TrimSpace(value)) == 0 {
		return nil // a v2 cpuset: empty means "as the parent"
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(child, name), value, 0)
}

// delegate hands all controllers of a v2 hierarchy down to a group's children. Only groups without processes can.
func delegate(group string) error {
	controllers, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // v1
	}
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(controllers)) {
		control := filepath.Join(group, "cgroup.subtree_control")
		if err := os.WriteFile(control, []byte("+"+name), 0); err != nil {
			return fmt.Errorf("hand the controller %s down from %s: %w", name, group, err)
		}
	}
	return nil
}

// writeWhole replaces a file so that a reader never sees half of it.
func writeWhole(path string, content []byte) error {
	scratch := path + ".new"
	if err := os.WriteFile(scratch, content, 0o644); err != nil {
		return err
	}
	return os.Rename(scratch, path)
}
