package main

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestPauseReapsAndEnds(t *testing.T) {
	done := make(chan error, 1)
	go func() { done <- pause(nil) }()
	// Until its handler is there, children stay zombies, and SIGTERM would end the test itself.
	for end := time.Now().Add(5 * time.Second); !reaped(t); {
		if time.Now().After(end) {
			t.Fatal("children stay zombies")
		}
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("SIGTERM did not end it")
	}
}

// reaped starts a child and tells whether somebody else waited for it within 50 ms.
func reaped(t *testing.T) bool {
	t.Helper()
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if syscall.Kill(child.Process.Pid, 0) != nil {
			return true
		}
	}
	_ = child.Wait()
	return false
}
