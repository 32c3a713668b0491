package main

import (
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
	http.HandleFunc("/hooks", accept)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

func accept(w http.ResponseWriter, r *http.Request) {
	slog.Info("hook accepted", "from", "bank")
	w.WriteHeader(http.StatusAccepted)
}
