package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// request is the input of `responder batch`.
type request struct {
	TimeoutMs int       `json:"timeout_ms"` // for all commands together
	Commands  []command `json:"commands"`
}

// command is a program to run, or a set of files to read, in a network namespace.
type command struct {
	ID    string   `json:"id"`
	Netns string   `json:"netns,omitempty"` // path; empty for our own
	Argv  []string `json:"argv,omitempty"`
	Files []string `json:"files,omitempty"` // patterns; a pattern that matches nothing is no error
}

// outcome is one line of the output.
type outcome struct {
	ID     string            `json:"id"`
	Status int               `json:"status"`
	Stdout string            `json:"stdout,omitempty"`
	Stderr string            `json:"stderr,omitempty"`
	Files  map[string]string `json:"files,omitempty"`
}

// maxFile bounds what is read of a file, in bytes.
const maxFile = 256 << 10

// Batch is `responder batch`: it runs many commands at once, so that a whole node can be looked at with one program
// run from outside. Sysctls of a network namespace are files below /proc/sys/net, which follow the thread's namespace.
func Batch([]string) error {
	var plan request
	if err := json.NewDecoder(os.Stdin).Decode(&plan); err != nil {
		return fmt.Errorf("plan on standard input: %w", err)
	}
	if plan.TimeoutMs == 0 {
		plan.TimeoutMs = 20000
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(plan.TimeoutMs)*time.Millisecond)
	defer cancel()
	var wait sync.WaitGroup
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	slots := make(chan struct{}, 2*runtime.NumCPU())
	for _, c := range plan.Commands {
		wait.Add(1)
		go func() {
			defer wait.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			done := c.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			_ = out.Encode(done)
		}()
	}
	wait.Wait()
	return nil
}

func (c command) run(ctx context.Context) outcome {
	done := outcome{ID: c.ID}
	err := inNetns(c.Netns, func() error {
		if len(c.Files) > 0 {
			done.Files = readFiles(c.Files)
			return nil
		}
		return c.execute(ctx, &done)
	})
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		done.Status = exit.ExitCode()
	case err != nil:
		done.Status, done.Stderr = 127, done.Stderr+err.Error()
	}
	return done
}

// execute forks on the thread that entered the namespace; the child inherits it.
func (c command) execute(ctx context.Context, done *outcome) error {
	if len(c.Argv) == 0 {
		return errors.New("neither argv nor files")
	}
	var stdout, stderr bytes.Buffer
	program := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	program.Stdout, program.Stderr = &stdout, &stderr
	err := program.Run()
	done.Stdout, done.Stderr = stdout.String(), stderr.String()
	return err
}

func readFiles(patterns []string) map[string]string {
	found := map[string]string{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		for _, path := range paths {
			file, err := os.Open(path)
			if err != nil {
				continue
			}
			data, err := io.ReadAll(io.LimitReader(file, maxFile))
			_ = file.Close()
			if err == nil {
				found[path] = strings.ToValidUTF8(string(data), "\uFFFD")
			}
		}
	}
	return found
}
