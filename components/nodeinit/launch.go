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
		if err := joinCgroup(dir); err != nil {
			return err
		}
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
	child := exec.Command("/proc/self/exe", "init")
	child.Stdin, child.Stdout, child.Stderr = bytes.NewReader(text), log, log
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

func listen(address string) (net.Listener, *os.File, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	file, err := listener.(*net.TCPListener).File()
	return listener, file, err
}

// joinCgroup makes a cgroup and moves this process into it. In a v1 cpuset a new group has no processors and refuses
// members, so that every new level gets its parent's.
func joinCgroup(dir string) error {
	var missing []string
	for parent := dir; ; parent = filepath.Dir(parent) {
		if _, err := os.Stat(parent); err == nil {
			break
		}
		missing = append([]string{parent}, missing...)
	}
	for _, level := range missing {
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

func inherit(parent, child, name string) error {
	value, err := os.ReadFile(filepath.Join(parent, name))
	if errors.Is(err, os.ErrNotExist) || len(bytes.TrimSpace(value)) == 0 {
		return nil // not a v1 cpuset
	}
	if err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(child, name), value, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// writeWhole replaces a file so that a reader never sees half of it.
func writeWhole(path string, content []byte) error {
	scratch := path + ".new"
	if err := os.WriteFile(scratch, content, 0o644); err != nil {
		return err
	}
	return os.Rename(scratch, path)
}
