package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser is a browser with tabs for a test.
type browser struct {
	*testing.T
	ctx      context.Context
	expected string // what consoles may say; empty means nothing
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	name := "chromium"
	if _, err := exec.LookPath(name); err != nil {
		t.Fatal("there is no chromium: make e2e installs it")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(name), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Flag("host-resolver-rules", "MAP phone.test 127.0.0.1"), // an insecure origin
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	alloc, end := chromedp.NewExecAllocator(t.Context(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		end()
	})
	return &browser{T: t, ctx: ctx}
}

// tab is a tab of the browser.
type tab struct {
	*testing.T
	ctx context.Context
}

// open opens a tab at an address. An error in its console fails the test, except
// for the status of the document itself, which browsers report there.
func (b *browser) open(url string) *tab {
	b.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	messages := chromedp.Console(ctx)
	var listening sync.WaitGroup
	listening.Go(func() { // ends with ctx
		for m, err := range messages {
			if err != nil {
				return
			}
			status := m.Source == "network" && (strings.Contains(m.Text, "status of 503") || strings.Contains(m.Text, "status of 404"))
			expected := b.expected != "" && strings.Contains(m.Text, b.expected)
			if (m.Type == chromedp.ConsoleError || m.IsException()) && !status && !expected {
				b.Errorf("a console says: %v (%s)", m, m.URL)
			}
		}
	})
	b.Cleanup(func() {
		cancel()
		listening.Wait()
	})
	t := &tab{b.T, ctx}
	t.do(chromedp.Navigate(url))
	return t
}

func (t *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, testTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// try evaluates an expression. It returns an empty string while the tab is between
// two documents.
func (t *tab) try(expression string) string {
	ctx, cancel := context.WithTimeout(t.ctx, testTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		return ""
	}
	return value
}

const (
	text   = `document.body?.innerText ?? ""`
	notice = `document.querySelector("tqserver-notice")?.shadowRoot.querySelector("div").innerText ?? ""`
)

// await waits until the value of an expression contains want, or is empty if want
// is.
func (t *tab) await(expression, want string) {
	t.Helper()
	end := time.Now().Add(testTimeout)
	for {
		got := t.try(expression)
		if want == "" && got == "" || want != "" && strings.Contains(got, want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not become %q but is %q", expression, want, got)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// mark sets a mark that a reload removes.
func (t *tab) mark() { t.try(`window.marked = "marked"`) }

// marked reports whether the tab has not been reloaded since mark.
func (t *tab) marked() bool { return t.try("window.marked") == "marked" }
