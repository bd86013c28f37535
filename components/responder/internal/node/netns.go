package node

import (
	"os"
	"runtime"
	"syscall"
)

// sysSetns is the number of setns(2), which package syscall does not name on every architecture.
var sysSetns = map[string]uintptr{"amd64": 308, "arm64": 268}[runtime.GOARCH]

// inNetns runs a function on a thread that has entered a network namespace. The thread is thrown away afterwards, so
// that nothing else can ever run on it.
func inNetns(path string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		if path != "" {
			if err := enter(path); err != nil {
				result <- err
				return
			}
		}
		result <- f()
	}()
	return <-result
}

func enter(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, _, errno := syscall.RawSyscall(sysSetns, file.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
		return &os.PathError{Op: "setns", Path: path, Err: errno}
	}
	return nil
}
