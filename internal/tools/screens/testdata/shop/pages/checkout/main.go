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
	http.HandleFunc("/checkout", pay)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

// pay asks the bank, which takes its time.
func pay(w http.ResponseWriter, r *http.Request) {
	<-time.After(time.Duration(40+rand.IntN(50)) * time.Millisecond)
	order := 1000 + rand.IntN(9000)
	slog.Info("paid", "order", order, "cents", 900)
	fmt.Fprintln(w, "Thank you. Your order is number", order)
}
