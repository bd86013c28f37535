// Package kit brings programs into a container of any image: a file tree that comes over standard input, and commands
// that see it as their root.
package kit

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
)

// environment of commands in a tree: nothing of the image's own reaches them, whose programs are others.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
}

// kernel's own file systems, which every tree must have.
var kernel = []string{"dev", "proc", "sys"}

// Wait is `responder wait`: it does nothing until it is told to end, and keeps a container running.
func Wait(args []string) error {
	if len(args) != 0 {
		return errors.New("usage: responder wait")
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	<-told
	return nil
}

// Unpack is `responder unpack DIRECTORY BYTES`: it makes a tree of the packed tar archive that it gets, whose end an
// old API server does not tell, mounts the kernel's file systems there, and prints the SHA-256 of what it got.
func Unpack(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: responder unpack DIRECTORY BYTES")
	}
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	digest := sha256.New()
	source := io.TeeReader(io.LimitReader(os.Stdin, size), digest)
	if err := tree(source, args[0]); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, source); err != nil {
		return err
	}
	for _, name := range kernel {
		target := filepath.Join(args[0], name)
		if err := syscall.Mount("/"+name, target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return &os.PathError{Op: "mount", Path: target, Err: err}
		}
	}
	fmt.Printf("%x\n", digest.Sum(nil))
	return nil
}

// tree unpacks directories, files and symbolic links.
func tree(source io.Reader, directory string) error {
	packed, err := gzip.NewReader(source)
	if err != nil {
		return err
	}
	archive := tar.NewReader(packed)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(header.Name) {
			return fmt.Errorf("the archive has %q, which is outside of it", header.Name)
		}
		if err := put(archive, header, filepath.Join(directory, header.Name)); err != nil {
			return err
		}
	}
}

func put(archive io.Reader, header *tar.Header, path string) error {
	mode := os.FileMode(header.Mode).Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(path, mode)
	case tar.TypeSymlink:
		return os.Symlink(header.Linkname, path)
	case tar.TypeReg:
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, archive)
		return errors.Join(err, file.Close())
	}
	return fmt.Errorf("the archive has %q of kind %q, which is not expected", header.Name, header.Typeflag)
}

// In is `responder in DIRECTORY PROGRAM [ARGUMENT…]`: it becomes a program that sees a tree as its root.
func In(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: responder in DIRECTORY PROGRAM [ARGUMENT…]")
	}
	if err := syscall.Chroot(args[0]); err != nil {
		return &os.PathError{Op: "chroot", Path: args[0], Err: err}
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	os.Clearenv()
	os.Setenv("PATH", environment[0][len("PATH="):])
	program, err := exec.LookPath(args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "responder in: %v\n", err)
		os.Exit(127) // as a shell says it
	}
	return &os.PathError{Op: "exec", Path: program, Err: syscall.Exec(program, args[1:], environment)}
}
