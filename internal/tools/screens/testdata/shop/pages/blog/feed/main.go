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
	http.HandleFunc("/blog/feed", feed)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

func feed(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/atom+xml")
	fmt.Fprintln(w, `<feed xmlns="http://www.w3.org/2005/Atom"><title>shop</title></feed>`)
}
