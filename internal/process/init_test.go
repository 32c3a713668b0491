package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// runAsServer makes orphans, and has children of its own meanwhile.
func runAsServer() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGINT)
	parent, err := NewParent()
	if err != nil {
		panic(err)
	}
	exec.Command("sh", "-c", "i=0; while [ $i -lt 100 ]; do (sleep 0.01 &); i=$((i+1)); done").Run()
	for range 20 {
		proc, err := parent.Start(Spec{Path: "/bin/sh", Args: []string{"-c", "(true &); exit 3"}, Output: func(int, bool, []byte) {}})
		if err != nil {
			panic(err)
		}
		if <-proc.Done(); proc.Exit().Status != "exit status 3" {
			fmt.Println("a worker ended with", proc.Exit().Status)
		}
		var exit *exec.ExitError
		if err := exec.Command("sh", "-c", "(true &); exit 7").Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
			fmt.Println("a command ended with", err)
		}
	}
	fmt.Println("pid", os.Getpid())
	for sig := range signals {
		fmt.Println(sig)
		if sig == syscall.SIGTERM {
			parent.Close()
			os.Exit(5)
		}
	}
}
