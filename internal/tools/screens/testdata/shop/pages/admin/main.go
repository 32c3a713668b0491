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
	http.HandleFunc("/admin", stock)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

func stock(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "4 items in stock")
}
