package main

import (
	"path/filepath"

	"tqserver/internal/tools/trial"
)

// project is a project whose pages are edited.
type project struct {
	*trial.Project
	bench *bench
}

func (b *bench) newProject(name, extra string) (*project, error) {
	p, err := trial.New(filepath.Join(b.dir, name), b.repo, b.program, extra)
	return &project{p, b}, err
}

// pageText returns a page that names its edit.
func pageText(edit string, imports ...string) string {
	shared := "``"
	lines := ""
	for _, path := range imports {
		lines += "\n\t\"" + path + "\""
		shared = "shared.Text"
	}
	return `package main

import (
	"fmt"
	"log"
	"net/http"
` + lines + `
	"tqserver/pkg/worker"
)

const edit = "` + edit + `"

func main() {
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s <%s> %s\n", r.URL.Path, edit, ` + shared + `)
	})
	log.Fatal(runtime.StartServer(mux))
}
`
}
