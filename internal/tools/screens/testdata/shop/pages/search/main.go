package main

import (
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"tqserver/pkg/worker"
)

func main() {
	log.SetFlags(0) // the server notes the time of every line
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/search", search)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	slog.Info("index read", "words", 8214)
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

func search(w http.ResponseWriter, r *http.Request) {
	<-time.After(time.Duration(2+rand.IntN(10)) * time.Millisecond)
	slog.Info("searched", "q", r.FormValue("q"))
	fmt.Fprintln(w, "cup, tea")
}
