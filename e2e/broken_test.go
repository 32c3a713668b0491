package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const mistake = "\nfunc broken() { undefinedThing(1) }\n"

// notices makes a tab note when the next notice appears.
const notices = `window.noticed = 0, new MutationObserver(() => { if (document.querySelector("tqserver-notice")) window.noticed ||= Date.now() }).observe(document.documentElement, {childList: true})`

func (tab *tab) noticed() time.Time {
	var ms int64
	fmt.Sscan(tab.try("window.noticed"), &ms)
	return time.UnixMilli(ms)
}

func TestABrokenBuildIsToldInTheCorner(t *testing.T) {
	p := newProject(t, map[string]string{"pages/index/main.go": hello("one")})
	p.serves("/", "one")
	tab := newBrowser(t).open(p.url)
	tab.await(text, "one")
	tab.try(notices)
	p.write("pages/index/main.go", hello("one")+mistake)
	tab.await(notice, "undefined: undefinedThing")
	line := strings.Count(hello("one"), "\n") + 2
	for _, want := range []string{"/ does not build: 1 error", fmt.Sprintf("pages/index/main.go:%d:17", line), "still showing build #1"} {
		tab.await(notice, want)
	}
	tab.await(text, "one")
	const tries = 5 // a busy machine is late now and then, but a fault is there every time
	for n := 1; ; n++ {
		late := tab.noticed().Sub(p.events("/", "build failed")[n-1].Time)
		t.Logf("figure  build failed to notice in the tab: %v", late.Round(time.Millisecond))
		if late <= 200*time.Millisecond {
			break
		}
		if n == tries {
			t.Errorf("the notice comes after %v", late)
			break
		}
		text := fmt.Sprint("mended ", n)
		p.write("pages/index/main.go", hello(text))
		tab.await(notice, "")
		p.serves("/", text)
		tab.try(notices)
		p.write("pages/index/main.go", hello(text)+mistake)
		tab.await(notice, "undefined: undefinedThing")
	}

	tab.try(`document.querySelector("tqserver-notice").shadowRoot.querySelector("header button").click()`)
	tab.await(notice, "")
	p.write("pages/index/main.go", hello("two"))
	tab.await(text, "two")
	tab.await(notice, "")
}

func TestAPageThatNeverServedShowsWhatIsWrong(t *testing.T) {
	p := newProject(t, map[string]string{"pages/index/main.go": hello("one") + mistake})
	b := newBrowser(t)
	early := b.open(p.url)
	early.await(text, "undefined: undefinedThing")
	late := b.open(p.url)
	late.await(text, "/ does not build: 1 error")
	late.await(text, "func broken() { undefinedThing(1) }")
	awkward := hello("one") + "\nvar x T[any] = \"</script><b>&'\"\n"
	p.write("pages/index/main.go", awkward)
	for _, tab := range []*tab{early, late} {
		tab.await(text, "undefined: T")
		tab.await(text, "</script><b>&'")
	}
	p.write("pages/index/main.go", hello("one"))
	for _, tab := range []*tab{early, late} {
		tab.await(text, "one")
	}
	p.write("pages/index/main.go", hello("two"))
	for _, tab := range []*tab{early, late} {
		tab.await(text, "two")
	}
}

func TestAPageThatKeepsEndingShowsItsPanic(t *testing.T) {
	bad := "package main\n\nfunc main() {\n\tvar m map[string]int\n\tm[\"x\"] = 1\n}\n"
	p := newProject(t, map[string]string{"pages/index/main.go": bad})
	tab := newBrowser(t).open(p.url)
	tab.await(text, "panic: assignment to entry in nil map")
	tab.await(text, "pages/index/main.go:5")
	p.write("pages/index/main.go", hello("mended"))
	tab.await(text, "mended")
}

func TestATabThatCameWhileAPageStartedAgainShowsItsPanic(t *testing.T) {
	late := "package main\n\nimport \"time\"\n\nfunc main() {\n\ttime.Sleep(3 * time.Second)\n\tpanic(\"no luck\")\n}\n"
	p := newProject(t, map[string]string{"pages/index/main.go": late})
	b := newBrowser(t)
	p.await("it ends", func() bool { return len(p.events("/", "the worker did not start")) > 0 })
	p.await("it starts again", func() bool { return strings.Contains(p.navigate("/"), "Starting /") })
	tab := b.open(p.url)
	tab.await(text, "pages are ready")
	tab.await(text, "panic: no luck")
}

// slow is a page that takes long to start.
var slow = strings.Replace(hello("ready"), "func main() {\n", "func main() {\n\ttime.Sleep(3 * time.Second)\n", 1)

func TestAPageThatIsNotReadyYetShowsHowFarItIs(t *testing.T) {
	p := newProject(t, map[string]string{"pages/index/main.go": strings.Replace(slow, "import (", "import (\n\t\"time\"", 1)})
	tab := newBrowser(t).open(p.url)
	tab.await(text, "pages are ready")
	tab.await(text, "pages/index")
	tab.await(text, "ready\n")
	tab.await(`document.querySelector("h1").innerText`, "ready")
}

func TestAPageThatComesTakesThePlaceOfNotFound(t *testing.T) {
	p := newProject(t, map[string]string{"pages/other/main.go": hello("other")})
	tab := newBrowser(t).open(p.url + "/")
	tab.await(text, "Not found")
	p.write("pages/index/main.go", hello("here"))
	tab.await(text, "here")
}

var screens = flag.Bool("screens", false, "write the pictures of docs/development.md")

func TestPictures(t *testing.T) {
	dir := t.TempDir()
	if *screens {
		dir = "../docs/development"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cart := strings.NewReplacer(`HandleFunc("/"`, `HandleFunc("/cart"`).Replace(hello("cart"))
	p := newProject(t, map[string]string{"pages/index/main.go": page("/", "", `<!doctype html><html><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><body style="font: 1.2rem/1.6 system-ui; max-width: 40rem; margin: 12vh auto; padding: 0 1.5rem"><h1>Tea for everybody</h1><p>A small shop of fine teas, from the hills to your cup.</p></body></html>`), "pages/cart/main.go": cart + "\nfunc total(items []int) (sum int) {\n\tfor _, it := range itms {\n\t\tsum += it\n\t}\n\treturn sum\n}\n"})
	p.serves("/", "Tea")
	b := newBrowser(t)
	shown, broken := b.open(p.url), b.open(p.url+"/cart")
	broken.await(text, "itms")
	p.write("pages/index/main.go", page("/", "", "x")+"\nvar price int = \"12 euros\"\n")
	shown.await(notice, "12 euros")
	p.write("pages/late/main.go", strings.Replace(strings.Replace(slow, "import (", "import (\n\t\"time\"", 1), "3 * time.Second", "60 * time.Second", 1))
	p.await("it starts", func() bool { return len(p.events("/late", "page found")) > 0 })
	waiting := b.open(p.url + "/late")
	waiting.await(text, "pages are ready")
	for name, tab := range map[string]*tab{"notice": shown, "error": broken, "waiting": waiting} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{390, 1280} {
				picture := tab.picture(scheme, width)
				if wide := tab.try("document.documentElement.scrollWidth"); wide != fmt.Sprint(width) {
					t.Errorf("%s is %s wide on a screen of %d", name, wide, width)
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, width)), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// picture takes a screenshot.
func (t *tab) picture(scheme string, width int64) []byte {
	t.Helper()
	prefers := func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}
	t.do(chromedp.EmulateViewport(width, 720), chromedp.Func(prefers))
	ctx, cancel := context.WithTimeout(t.ctx, testTimeout)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	return picture
}
