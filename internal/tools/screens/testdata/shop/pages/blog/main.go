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
	http.HandleFunc("/blog", front)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	slog.Info("articles read", "count", 12)
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

func front(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "How long should tea stand?")
}
