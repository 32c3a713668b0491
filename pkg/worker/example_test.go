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
