package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const settings = "/proc/sys/"

// set writes a setting, of every interface that is there when the key has a star: a new network namespace has some
// from its first moment on (lo, tunl0), and they, too, have what the machine decided.
func (s *Sysctl) set() error {
	paths := []string{settings + s.Key}
	if strings.Contains(s.Key, "*") {
		paths, _ = filepath.Glob(settings + s.Key)
	}
	for _, path := range paths {
		err := os.WriteFile(path, []byte(s.Value), 0)
		if err != nil && !(s.Optional && os.IsNotExist(err)) {
			return fmt.Errorf("sysctl %s=%s: %w", strings.TrimPrefix(path, settings), s.Value, err)
		}
	}
	return nil
}

// settle is what the container runtime runs in the namespaces of each container before its program starts (a
// createContainer hook of the OCI runtime specification; /proc is still the node's). Network namespaces of pods are made
// by the runtime and inherit the machine's settings, not the node's.
func settle(words []string) error {
	if own, err := os.Readlink("/proc/self/ns/net"); err == nil {
		if node, err := os.Readlink("/proc/1/ns/net"); err == nil && own == node {
			return nil // a pod in its node's network
		}
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if err := (&Sysctl{Key: key, Value: value, Optional: true}).set(); err != nil {
			return err
		}
	}
	return nil
}
