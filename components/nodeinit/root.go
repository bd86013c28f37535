package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// makeRoot gives the node a root file system of its own: the host's as the lower, read-only layer of an overlay, so
// that all its programs are there, and a tmpfs as the upper one, so that nothing written in the node reaches the host.
// Directories that hold much, or that overlayfs cannot hold, are bind mounts.
func makeRoot(spec *Spec) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := syscall.Mount("tmpfs", spec.Root, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("tmpfs on %s: %w", spec.Root, err)
	}
	upper, work, merged := spec.Root+"/upper", spec.Root+"/work", spec.Root+"/merged"
	for _, dir := range []string{upper, work, merged} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := overlay("/", upper, work, merged); err != nil {
		return fmt.Errorf("overlay of / on %s: %w", merged, err)
	}
	for _, step := range []func(string) error{mountKernel, mountDevices} {
		if err := step(merged); err != nil {
			return err
		}
	}
	if err := mountCgroups(merged, spec.Hierarchies); err != nil {
		return err
	}
	for _, mount := range spec.Mounts {
		if err := mount.in(merged); err != nil {
			return err
		}
	}
	if err := pivot(merged); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	// kubelet wants shared propagation for volumes; the peer group is the node's own.
	return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, "")
}

func mountKernel(root string) error {
	for _, mount := range []Mount{
		{Type: "proc", Target: "/proc"},
		{Type: "sysfs", Target: "/sys"},
		{Type: "tmpfs", Target: "/run", Options: "mode=0755"},
		{Type: "tmpfs", Target: "/tmp", Options: "mode=1777"},
	} {
		if err := mount.in(root); err != nil {
			return err
		}
	}
	// BPF file system: one per node, or CNIs of several nodes would overwrite each other's pins.
	if _, err := os.Stat(root + "/sys/fs/bpf"); err == nil {
		return (&Mount{Type: "bpf", Target: "/sys/fs/bpf"}).in(root)
	}
	return nil
}

func mountDevices(root string) error {
	if err := (&Mount{Type: "tmpfs", Target: "/dev", Options: "mode=0755"}).in(root); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "kmsg", "net/tun", "fuse"} {
		if _, err := os.Stat("/dev/" + name); err != nil {
			continue
		}
		if err := (&Mount{Source: "/dev/" + name, Target: "/dev/" + name}).in(root); err != nil {
			return err
		}
	}
	if err := kernelLog(root + "/dev/kmsg"); err != nil {
		return err
	}
	for _, mount := range []Mount{
		{Type: "devpts", Target: "/dev/pts", Options: "newinstance,ptmxmode=0666,mode=0620"},
		{Type: "tmpfs", Target: "/dev/shm", Options: "mode=1777"},
		{Type: "mqueue", Target: "/dev/mqueue"},
	} {
		if err := mount.in(root); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, root+"/dev/"+link); err != nil {
			return err
		}
	}
	return nil
}

// kernelLog makes the device that kubelet does not start without, where there was none to bind: in a container, whose
// manager hides it. It stays away where it could not be read, which doctor tells of.
func kernelLog(path string) error {
	const major, minor = 1, 11
	err := syscall.Mknod(path, syscall.S_IFCHR|0o600, major<<8|minor)
	if errors.Is(err, os.ErrExist) || errors.Is(err, syscall.EPERM) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return os.Remove(path)
	}
	return file.Close()
}

type cgroupMount struct {
	target  string // mount point in the node
	options string // controllers of a v1 hierarchy
	unified bool   // cgroup v2
	hybrid  bool   // v2 beside v1: holds no controllers
}

// cgroupMounts lists the hierarchies that the node has a group in, from /proc/self/cgroup, which has a line for each that
// the kernel has: "4:memory:/…" for v1, "0::/…" for v2.
func cgroupMounts(hierarchies []string) ([]cgroupMount, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	return mountsOf(string(text), hierarchies), nil
}

func mountsOf(text string, hierarchies []string) []cgroupMount {
	var mounts []cgroupMount
	unified := false
	for _, line := range strings.Split(text, "\n") {
		fields := strings.SplitN(line, ":", 3)
		switch {
		case len(fields) != 3 || !slices.Contains(hierarchies, fields[0]):
		case fields[1] == "":
			unified = true
		case strings.HasPrefix(fields[1], "name="):
			name := strings.TrimPrefix(fields[1], "name=")
			mounts = append(mounts, cgroupMount{target: "/sys/fs/cgroup/" + name, options: "none," + fields[1]})
		default:
			mounts = append(mounts, cgroupMount{target: "/sys/fs/cgroup/" + fields[1], options: fields[1]})
		}
	}
	if unified && len(mounts) > 0 {
		mounts = append(mounts, cgroupMount{target: "/sys/fs/cgroup/unified", unified: true, hybrid: true})
	} else if unified {
		mounts = append(mounts, cgroupMount{target: "/sys/fs/cgroup", unified: true})
	}
	return mounts
}

// mountCgroups mounts these hierarchies anew: inside the cgroup namespace its root is the node's own group, and the node
// looks like a machine of its own to kubelet and runc.
func mountCgroups(root string, hierarchies []string) error {
	mounts, err := cgroupMounts(hierarchies)
	if err != nil {
		return err
	}
	if len(mounts) > 0 && !(mounts[0].unified && !mounts[0].hybrid) {
		if err := (&Mount{Type: "tmpfs", Target: "/sys/fs/cgroup", Options: "mode=0755"}).in(root); err != nil {
			return err
		}
	}
	for _, mount := range mounts {
		kind := "cgroup"
		if mount.unified {
			kind = "cgroup2"
		}
		err := (&Mount{Type: kind, Target: mount.target, Options: mount.options}).in(root)
		if err != nil {
			return err
		}
		names := strings.Split(mount.options, ",")
		for _, name := range names {
			if len(names) > 1 && name != "none" && !strings.Contains(name, "=") {
				if err := os.Symlink(mount.options, root+"/sys/fs/cgroup/"+name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// in mounts below root, making the mount point.
func (m *Mount) in(root string) error {
	target := filepath.Join(root, m.Target)
	describe := func(err error) error {
		return fmt.Errorf("mount %s%s on %s: %w", m.Type, m.Source, m.Target, err)
	}
	if m.Lower != "" {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := overlay(m.Lower, m.Upper, m.Work, target); err != nil {
			return fmt.Errorf("overlay of %s on %s: %w", m.Lower, m.Target, err)
		}
		return nil
	}
	if m.Type != "" {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return describe(err)
		}
		if err := syscall.Mount(m.Type, target, m.Type, 0, m.Options); err != nil {
			return describe(err)
		}
		return nil
	}
	if err := mountPoint(m.Source, target); err != nil {
		return describe(err)
	}
	if err := syscall.Mount(m.Source, target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return describe(err)
	}
	if m.ReadOnly {
		flags := uintptr(syscall.MS_REMOUNT | syscall.MS_BIND | syscall.MS_RDONLY)
		if err := syscall.Mount("", target, "", flags, ""); err != nil {
			return describe(err)
		}
	}
	return nil
}

// overlay mounts an overlay of three directories. Its options are one string, in which commas, colons and backslashes of
// paths have a meaning of their own, and which is at most a page long: open directories have names without any of that.
func overlay(lower, upper, work, target string) error {
	options := "lowerdir=%s,upperdir=%s,workdir=%s"
	names := make([]any, 0, 3)
	for _, path := range []string{lower, upper, work} {
		directory, err := os.Open(path)
		if err != nil {
			return err
		}
		defer directory.Close()
		names = append(names, fmt.Sprintf("/proc/self/fd/%d", directory.Fd()))
	}
	return syscall.Mount("overlay", target, "overlay", 0, fmt.Sprintf(options, names...))
}

// mountPoint makes a directory or an empty file, whichever the source of the bind mount is.
func mountPoint(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(target, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

// pivot makes root the root of the mount namespace and drops the old one: pivot_root(2), "pivot_root(".", ".")".
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	return pivotHere()
}

// pivotHere does so with the working directory.
func pivotHere() error {
	if err := syscall.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return err
	}
	return errors.Join(os.Chdir("/"))
}
