package main

import (
	"os"
	"os/signal"
	"syscall"
)

// pause holds a pod's namespaces: it sleeps until it is told to end, and reaps what is left to it meanwhile, for it is
// PID 1 of pods that share their PID namespace.
func pause([]string) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return nil
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 && err != syscall.EINTR {
				break
			}
		}
	}
	return nil
}
