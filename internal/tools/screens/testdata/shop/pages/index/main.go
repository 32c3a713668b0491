package main

import (
	"fmt"
	"log"
	"net/http"

	"tqserver/pkg/worker"
)

func main() {
	log.SetFlags(0) // the server notes the time of every line
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", home)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

func home(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintln(w, "Tea, and what one needs to make it.")
}
