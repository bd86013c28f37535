package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	statusDir    = "/run/cnilab/services"       // one file per service with its PID, as the node sees it
	exitLog      = "/var/log/cnilab/exits.json" // one line per exit or long wait: the harness reads it while it waits
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	pollEvery    = 20 * time.Millisecond
	sayAfter     = 2 * time.Second // a service that has waited for so long says for what
	sayEvery     = time.Second
)

type exit struct {
	Service string `json:"service"`
	Status  string `json:"status"`
	At      string `json:"at"`
	Count   int    `json:"count"`
}

// waiting is why a service has not started yet; it has when Waits is empty.
type waiting struct {
	Service string `json:"service"`
	Waits   string `json:"waits"`
	At      string `json:"at"`
}

// supervise starts services, restarts those that end, and reaps every orphan of the node. It is the only place that
// waits for children, since wait4(-1) and os/exec's Wait would steal from each other.
func supervise(services []Service) error {
	for _, dir := range []string{statusDir, filepath.Dir(exitLog)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	starts := make(chan *Service)
	for i := range services {
		go startWhenPossible(&services[i], 0, starts)
	}
	exits := make(chan waited)
	running := map[int]*Service{}
	counts := map[string]int{}
	restart := func(service *Service, status string) {
		counts[service.Name]++
		count := counts[service.Name]
		record(exit{service.Name, status, now(), count})
		go startWhenPossible(service, min(firstBackoff<<min(count-1, 8), maxBackoff), starts)
	}
	idle := make(chan struct{}, 1) // tells the reaper that there may be children again
	go reap(exits, idle)
	for {
		select {
		case service := <-starts:
			pid, err := service.start()
			if err != nil {
				restart(service, err.Error())
				continue
			}
			running[pid] = service
			select {
			case idle <- struct{}{}:
			default:
			}
		case child := <-exits:
			service, known := running[child.pid]
			if !known {
				continue // an orphan, adopted by PID 1
			}
			delete(running, child.pid)
			restart(service, child.describe())
		}
	}
}

type waited struct {
	pid    int
	status syscall.WaitStatus
}

func (w waited) describe() string {
	if w.status.Signaled() {
		return "signal " + w.status.Signal().String()
	}
	return "exit status " + strconv.Itoa(w.status.ExitStatus())
}

func reap(exits chan<- waited, idle <-chan struct{}) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // ECHILD: nobody to wait for; orphans can only come from a service
			select {
			case <-idle:
			case <-time.After(time.Second):
			}
		default:
			exits <- waited{pid, status}
		}
	}
}

func startWhenPossible(service *Service, delay time.Duration, starts chan<- *Service) {
	time.Sleep(delay)
	said, told := "", time.Now().Add(sayAfter-sayEvery)
	for _, condition := range service.Wait {
		for asked := time.Now(); ; asked = time.Now() {
			err := holds(condition)
			if err == nil {
				break
			}
			if words := condition + ": " + reason(err); words != said && err != errWanted && time.Since(told) >= sayEvery {
				said, told = words, time.Now()
				record(waiting{service.Name, said, now()})
			}
			// Where it takes long to ask, on a slow machine, the time is better left to those who are asked.
			time.Sleep(min(max(pollEvery, 4*time.Since(asked)), time.Second))
		}
	}
	if said != "" {
		record(waiting{service.Name, "", now()})
	}
	starts <- service
}

// errWanted is no trouble: somebody keeps the service from starting.
var errWanted = errors.New("it is to stay stopped")

// holds returns nil when "unix:/path" or "tcp:host:port" takes a connection, "https://host:port/path" answers 200, or
// what "absent:/path" names is not there; else what it saw instead.
func holds(condition string) error {
	network, address, _ := strings.Cut(condition, ":")
	switch network {
	case "https":
		return answers(condition)
	case "absent":
		if exists(address) {
			return errWanted
		}
		return nil
	}
	connection, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return err
	}
	return connection.Close()
}

// reason is the innermost of an error: what is around it names ports that are others each time.
func reason(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

func now() string {
	return time.Now().UTC().Format(time.RFC3339Nano)
}

// asker keeps its connections: a TLS handshake for every question takes a tenth of a core from a server that starts.
var asker = http.Client{
	Timeout: 5 * time.Second,
	Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		IdleConnTimeout: 5 * time.Second,
	},
}

// answers asks as anybody may. The certificate is not verified: nothing is sent, and all that is believed is "now".
func answers(url string) error {
	response, err := asker.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // only then the connection is free for the next question
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func (s *Service) start() (int, error) {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	program, err := lookPath(s.Argv[0], s.Env["PATH"])
	if err != nil {
		return 0, err
	}
	environment := make([]string, 0, len(s.Env))
	for key, value := range s.Env {
		environment = append(environment, key+"="+value)
	}
	process, err := os.StartProcess(program, s.Argv, &os.ProcAttr{
		Dir: "/", Env: environment, Files: []*os.File{null, log, log}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	pid := process.Pid
	_ = process.Release()
	return pid, writeWhole(filepath.Join(statusDir, s.Name), []byte(strconv.Itoa(pid)+"\n"))
}

// lookPath searches the service's own PATH; exec.LookPath knows only that of this process.
func lookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("no program %s in PATH %s", name, path)
}

// record appends a line to the log; several services may do so at once, and a line is written in one piece.
func record(entry any) {
	line, err := json.Marshal(entry)
	if err != nil {
		return
	}
	file, err := os.OpenFile(exitLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer file.Close()
	fmt.Fprintf(file, "%s\n", line)
}
