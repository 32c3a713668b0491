package main

import (
	"fmt"
	"log"
	"log/slog"
	"net/http"

	"tqserver/pkg/worker"
)

func main() {
	log.SetFlags(0) // the server notes the time of every line
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/api/users", list)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

func list(w http.ResponseWriter, r *http.Request) {
	slog.Info("users listed", "count", 2)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, `["ada","grace"]`)
}
