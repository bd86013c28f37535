package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// Spec is what the harness wants a node to be. Paths under Root, Mounts[].Target, Files and Services are the node's;
// all others are the host's.
type Spec struct {
	Hostname string   `json:"hostname"`
	Cgroups  []string `json:"cgroups"` // directories to create and join, one per hierarchy
	PidFile  string   `json:"pid_file"`
	Log      string   `json:"log"`  // standard output and error of PID 1
	Root     string   `json:"root"` // an empty directory: mount point of the node's root file system
	Listen   string   `json:"listen"`
	Forward  string   `json:"forward"` // where connections to Listen go, inside the node

	Mounts   []Mount           `json:"mounts"`
	Files    map[string]string `json:"files"`
	Private  []string          `json:"private"` // files under /proc or /sys that get a private stand-in
	Sysctls  []Sysctl          `json:"sysctls"`
	Services []Service         `json:"services"`

	// Hierarchies of control groups that Cgroups are in, by their numbers in /proc/self/cgroup; launch finds them.
	Hierarchies []string `json:"hierarchies"`
}

// Mount is a bind mount from the host, an overlay when it has a lower directory, or a file system of its own when Type
// is set.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Type     string `json:"type"`
	Options  string `json:"options"`
	ReadOnly bool   `json:"read_only"`
	Lower    string `json:"lower"`
	Upper    string `json:"upper"`
	Work     string `json:"work"`
}

// Sysctl is a key of /proc/sys, with slashes; a star stands for any interface. Optional ones may be absent from the
// kernel.
type Sysctl struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Optional bool   `json:"optional"`
}

// Service is a program that PID 1 keeps running.
type Service struct {
	Name string            `json:"name"`
	Argv []string          `json:"argv"`
	Env  map[string]string `json:"env"`
	Log  string            `json:"log"`
	Wait []string          `json:"wait"` // what must hold before the start: see holds
}

func readSpec(path string) (*Spec, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	spec := new(Spec)
	if err := json.Unmarshal(text, spec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}
