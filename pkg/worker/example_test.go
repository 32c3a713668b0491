package worker_test

import (
	"log"
	"net/http"

	"tqserver/pkg/worker"
)

func Example() {
	// Initialize worker runtime (reads TQ_* environment variables)
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}

	// Set up routes
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("Hello from worker!"))
	})
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.Write([]byte("OK"))
	})

	// Start server with proper timeouts and graceful shutdown
	if err := runtime.StartServer(http.DefaultServeMux); err != nil {
		log.Fatal(err)
	}
}

func ExampleLogger() {
	http.HandleFunc("/buy", func(w http.ResponseWriter, r *http.Request) {
		// 2026/11/24 21:04:22 INFO bought request_id=… trace_id=… span_id=… item=tea
		worker.Logger(r.Context()).Info("bought", "item", r.FormValue("item"))

		// The client has this id too.
		http.Error(w, "out of tea, request "+worker.RequestID(r.Context()), http.StatusConflict)
	})
}
