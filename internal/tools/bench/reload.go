package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/tools/trial"
)

const (
	edits        = 40
	betweenSaves = 300 * time.Millisecond // until the old worker has ended
)

// flags are the flags with which the server builds.
const flags = "-ldflags=-s -w"

// sample makes a project of the sample page, which names its edit in a header.
func (b *bench) sample(name string) (*project, error) {
	p, err := b.newProject(name, "")
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"pages/index", "templates"} {
		if err := os.CopyFS(filepath.Join(p.Dir, dir), os.DirFS(filepath.Join(b.repo, dir))); err != nil {
			return nil, err
		}
	}
	return p, p.editSample("0")
}

const sampleHandler = "func (s *site) index(w http.ResponseWriter, r *http.Request) {\n"

// editSample saves the sample page with another text in it.
func (p *project) editSample(edit string) error {
	text, err := os.ReadFile(filepath.Join(p.bench.repo, "pages/index/main.go"))
	if err != nil {
		return err
	}
	before, after, found := strings.Cut(string(text), sampleHandler)
	if !found {
		return fmt.Errorf("the sample page has no handler %q any more", sampleHandler)
	}
	return p.Write("pages/index/main.go", before+sampleHandler+"\tw.Header().Set(\"X-Edit\", \""+edit+"\")\n"+after)
}

// awaitEdit repeats a request until the response is of an edit.
func (p *project) awaitEdit(ctx context.Context, edit string) error {
	ctx, cancel := context.WithTimeout(ctx, trial.Timeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.URL+"/", nil)
		if err != nil {
			return err
		}
		if resp, err := trial.Client.Do(req); err == nil {
			resp.Body.Close()
			if resp.Header.Get("X-Edit") == edit {
				return nil
			}
		}
		if err := trial.Pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("the page does not respond with edit %s: %w", edit, err)
		}
	}
}

// reload measures bars 1 and 2.
func (b *bench) reload(ctx context.Context) error {
	served, err := b.sample("served")
	if err != nil {
		return err
	}
	built, err := b.sample("built")
	if err != nil {
		return err
	}
	if err := served.Start(ctx); err != nil {
		return err
	}
	defer served.Stop()
	if err := served.awaitEdit(ctx, "0"); err != nil {
		return err
	}
	edit := 0
	turn := func() (saved, compiled time.Duration, err error) {
		edit++
		text := fmt.Sprint(edit)
		if err := trial.Pause(ctx, betweenSaves); err != nil {
			return 0, 0, err
		}
		began := time.Now()
		if err := served.editSample(text); err != nil {
			return 0, 0, err
		}
		if err := served.awaitEdit(ctx, text); err != nil {
			return 0, 0, err
		}
		saved = time.Since(began)
		if err := trial.Pause(ctx, betweenSaves); err != nil {
			return 0, 0, err
		}
		if err := built.editSample(text); err != nil {
			return 0, 0, err
		}
		began = time.Now()
		err = run(ctx, built.Dir, "go", "build", flags, "-o", "page", "./pages/index")
		return saved, time.Since(began), err
	}
	turns := func(n int) (saved, compiled []time.Duration, err error) {
		for range n {
			s, c, err := turn()
			if err != nil {
				return nil, nil, err
			}
			saved, compiled = append(saved, s), append(compiled, c)
		}
		return saved, compiled, nil
	}
	if _, _, err := turns(2); err != nil {
		return err
	}
	saved, compiled, err := turns(edits)
	if err != nil {
		return err
	}
	b.add(noSlower(1, "save → new response, sample page, median of 40", "`go build`", median(saved), median(compiled), 1.15))
	b.add(noSlower(1, "the same median, as no go command is run", "`go build`", median(saved), median(compiled), 0.9))
	b.add(noSlower(1, "the same, 95th percentile", "`go build`", quantile(saved, 0.95), quantile(compiled, 0.95), 1.35))

	end := served.load(ctx, 8)
	saved, compiled, err = turns(edits / 2)
	requests, failed := end()
	if err != nil {
		return err
	}
	b.add(noSlower(2, "the same while 8 clients request the page without a pause, median of 20", "`go build` beside them", median(saved), median(compiled), 1.5))
	r := atMost(2, "requests of the 8 clients that failed", float64(failed), "", 0)
	r.Measured = fmt.Sprintf("of %d", requests)
	b.add(r)
	return nil
}

// load starts clients that request the page without a pause, until end is called.
func (p *project) load(ctx context.Context, clients int) (end func() (requests, failed int64)) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var requests, failed atomic.Int64
	for range clients {
		all.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				if _, err := trial.Get(ctx, p.URL+"/"); err != nil && ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, err)
					failed.Add(1)
				}
				requests.Add(1)
			}
		})
	}
	return func() (int64, int64) {
		cancel()
		all.Wait()
		return requests.Load(), failed.Load()
	}
}
