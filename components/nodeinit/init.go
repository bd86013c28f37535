package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// runInit is PID 1 of the node. root is the specification's, which is not read before the mount namespace is in order:
// what comes through a pipe comes once.
func runInit(root string) error {
	ready := os.NewFile(fdReady, "ready")
	if err := adoptRoot(root, os.Args); err != nil {
		fmt.Fprint(ready, err)
		return err
	}
	syscall.CloseOnExec(fdReady)
	spec := new(Spec)
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(text, spec)
	}
	if err == nil {
		err = becomeNode(spec)
	}
	if err != nil {
		fmt.Fprint(ready, err)
		return err
	}
	if spec.Listen != "" {
		syscall.CloseOnExec(fdListener)
		listener, err := net.FileListener(os.NewFile(fdListener, "listener"))
		if err != nil {
			fmt.Fprint(ready, err)
			return err
		}
		go forward(listener, spec.Forward)
	}
	fmt.Fprint(ready, "ok")
	ready.Close()
	return supervise(spec.Services)
}

func becomeNode(spec *Spec) error {
	if err := syscall.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	if err := makeRoot(spec); err != nil {
		return err
	}
	if err := leaveCgroupRoot(spec.Hierarchies); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("lo up: %w", err)
	}
	for path, content := range spec.Files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// A file of the host may be a link to elsewhere (/etc/resolv.conf): the node's own replaces it.
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, path := range spec.Private {
		if err := standIn(path); err != nil {
			return fmt.Errorf("stand-in for %s: %w", path, err)
		}
	}
	for _, sysctl := range spec.Sysctls {
		if err := sysctl.set(); err != nil {
			return err
		}
	}
	return nil
}

// leaveCgroupRoot moves PID 1 into a child group. With cgroup v2 a group that has processes cannot hand controllers
// to its children ("no internal processes"), and the node's root must, for kubelet's pods.
func leaveCgroupRoot(hierarchies []string) error {
	roots, err := cgroupMounts(hierarchies)
	if err != nil {
		return err
	}
	for _, root := range roots {
		group := filepath.Join(root.target, "init.scope")
		if err := joinCgroup(group); err != nil {
			return err
		}
		if root.unified {
			if err := delegate(root.target); err != nil {
				return err
			}
		}
	}
	return nil
}

// standIn hides a machine-wide setting behind a private file with the same value: kubelet writes kernel.panic and
// others, and the machine must keep its own.
func standIn(path string) error {
	value, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	private := filepath.Join("/run/cnilab/private", path)
	if err := os.MkdirAll(filepath.Dir(private), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(private, value, 0o644); err != nil {
		return err
	}
	return syscall.Mount(private, path, "", syscall.MS_BIND, "")
}

// loopbackUp is `ip link set lo up`.
func loopbackUp() error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), syscall.SIOCSIFFLAGS,
		uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	return nil
}

// forward carries connections from the host's loopback into the node; it is how kubectl on the host reaches the API
// server without an address or a route on the host.
func forward(listener net.Listener, target string) {
	for {
		outside, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "forward:", err)
			return
		}
		go func() {
			defer outside.Close()
			inside, err := net.Dial("tcp", target)
			if err != nil {
				return // the caller sees its connection closed, as from a server that is not up yet
			}
			defer inside.Close()
			go func() {
				_, _ = io.Copy(inside, outside)
				_ = inside.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(outside, inside)
			_ = outside.(*net.TCPConn).CloseWrite()
		}()
	}
}
