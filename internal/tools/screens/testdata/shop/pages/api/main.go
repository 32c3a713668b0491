package main

import (
	"encoding/json"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"tqserver/pkg/worker"
)

type item struct {
	Name  string `json:"name"`
	Cents int    `json:"cents"`
}

var items = []item{{"cup", 900}, {"kettle", 4900}, {"pot", 3500}, {"tea", 650}}

func main() {
	log.SetFlags(0) // the server notes the time of every line
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/api/items", list)
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	slog.Info("stock loaded", "items", len(items))
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

// list answers with the items that have the query in their names.
func list(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	query := r.FormValue("q")
	found := []item{}
	for _, it := range items {
		if strings.Contains(it.Name, query) {
			found = append(found, it)
		}
	}
	<-time.After(time.Duration(1+rand.IntN(30)) * time.Millisecond / 2)
	if took := time.Since(began); took > 13*time.Millisecond {
		slog.Warn("slow query", "q", query, "took", took.Round(100*time.Microsecond))
	} else {
		slog.Info("items listed", "q", query, "found", len(found))
	}
	json.NewEncoder(w).Encode(found)
}
