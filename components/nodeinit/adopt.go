package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// setns(2), which package syscall does not number everywhere.
var sysSetns = map[string]uintptr{"amd64": 308, "arm64": 268}[runtime.GOARCH]

// adoptRoot makes this process's root directory the root of its mount namespace, where it is not: in a chroot.
//
// Everybody who enters the node later (nsenter, and with it every command of the harness) begins at the root of the
// mount namespace (setns(2)), not at that of the node's PID 1. Below a chroot pivot_root(2) exchanges the second only:
// the node would be one place for those who were born in it, and the machine outside of the chroot for all others.
//
// A thread of its own does it, since setns wants a file system context that nobody shares; the program then begins
// anew in that thread. It returns where there is nothing to do.
//
// mountPoint is an empty directory, as this process sees it.
func adoptRoot(mountPoint string, argv []string) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		result <- adoptInThread(mountPoint, argv)
	}()
	if err := <-result; err != nil {
		return fmt.Errorf("make the root directory, a chroot's, that of the mount namespace: %w", err)
	}
	return nil
}

func adoptInThread(mountPoint string, argv []string) error {
	namespace, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	defer namespace.Close()
	descriptors, err := os.Open("/proc/self/fdinfo")
	if err != nil {
		return err
	}
	defer descriptors.Close()
	own, err := openPath("/")
	if err != nil {
		return err
	}
	defer syscall.Close(own)
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := enterMounts(namespace); err != nil {
		return err
	}
	top, err := openPath("/")
	if err != nil {
		return err
	}
	defer syscall.Close(top)
	same, err := samePlace(descriptors, own, top)
	if err != nil || same {
		return err
	}
	// From the root of the namespace, which is a mount point, whatever the chroot's is; and before anything is
	// mounted, so that the machine does not see it.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := chrootTo(own); err != nil {
		return err
	}
	if err := syscall.Mount("/", mountPoint, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("bind / to %s: %w", mountPoint, err)
	}
	root, err := openPath(mountPoint)
	if err != nil {
		return err
	}
	defer syscall.Close(root)
	if err := enterMounts(namespace); err != nil {
		return err
	}
	if err := syscall.Fchdir(root); err != nil {
		return err
	}
	if err := pivotHere(); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	return syscall.Exec("/proc/self/exe", argv, os.Environ())
}

// openPath opens a directory as a place only; it is closed when the program begins anew.
func openPath(path string) (int, error) {
	const oPath = 0x200000 // O_PATH, which package syscall lacks
	found, err := syscall.Open(path, oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return found, nil
}

// enterMounts enters the mount namespace that this thread is in: its root becomes the namespace's.
func enterMounts(namespace *os.File) error {
	if sysSetns == 0 {
		return fmt.Errorf("setns is not known on %s", runtime.GOARCH)
	}
	if _, _, errno := syscall.RawSyscall(sysSetns, namespace.Fd(), syscall.CLONE_NEWNS, 0); errno != 0 {
		return fmt.Errorf("setns: %w", errno)
	}
	return nil
}

func chrootTo(directory int) error {
	if err := syscall.Fchdir(directory); err != nil {
		return err
	}
	return syscall.Chroot(".")
}

// samePlace says whether two open directories are one, seen through one mount: a chroot may be a second mount of /.
func samePlace(descriptors *os.File, one, other int) (bool, error) {
	var a, b syscall.Stat_t
	if err := syscall.Fstat(one, &a); err != nil {
		return false, err
	}
	if err := syscall.Fstat(other, &b); err != nil {
		return false, err
	}
	if a.Dev != b.Dev || a.Ino != b.Ino {
		return false, nil
	}
	first, err := mountID(descriptors, one)
	if err != nil {
		return false, err
	}
	second, err := mountID(descriptors, other)
	return first == second, err
}

// mountID reads the number of the mount that a descriptor is on (proc_pid_fdinfo(5)). The directory was opened before:
// there may be no /proc where this thread is now.
func mountID(descriptors *os.File, descriptor int) (string, error) {
	found, err := syscall.Openat(int(descriptors.Fd()), strconv.Itoa(descriptor), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("fdinfo: %w", err)
	}
	file := os.NewFile(uintptr(found), "fdinfo")
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "mnt_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", fmt.Errorf("fdinfo has no mnt_id")
}
