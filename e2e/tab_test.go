package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestATabRecoversFromWhatWasLeftOpen(t *testing.T) {
	document := func(head, body string) string {
		return page("/", "", "<!doctype html><html lang=en><head><link rel=icon href=data:,>"+head+"</head><body>"+body+"</body></html>")
	}
	p := newProject(t, map[string]string{"pages/index/main.go": document("", "<h1>start</h1>")})
	p.serves("/", "start")
	tab := newBrowser(t).open(p.url)
	tab.await(text, "start")
	for i, open := range []struct{ head, body string }{
		{"<!-- note", ""}, {"<style>p {", ""}, {"<script>let x = `", ""}, {"<title>My", ""}, {"<template>", ""}, {"<noscript><style>", ""},
		{"<meta name='x", ""}, {"", "<textarea>"}, {"", "<!-- note"}, {"", "<svg><style>"}, {"", "<iframe>"}, {"", "<select><option>"}, {"", "<p class='x"}, {"", "<plaintext>"}, {"", "<xmp>"},
	} {
		tab.mark()
		p.write("pages/index/main.go", document(open.head, open.body+fmt.Sprintf("<h1>broken %d</h1>", i)))
		tab.await("window.marked", "undefined")
		tab.await("document.readyState", "complete")
		tab.await("document.compatMode", "CSS1Compat")
		p.write("pages/index/main.go", document("", fmt.Sprintf("<h1>mended %d</h1>", i)))
		tab.await(text, fmt.Sprintf("mended %d", i))
	}
}

func TestTheScriptChangesNothingThatADocumentSays(t *testing.T) {
	p := newProject(t, map[string]string{"pages/index/main.go": page("/", "", `<!-- a comment --><!doctype html><!-- another --><html lang="nl" class="a > b"><head><meta charset="utf-8"><base href="https://example.invalid/"><title>Thee</title></head><body id="b"><h1>one</h1></body></html>`)})
	p.serves("/", "one")
	tab := newBrowser(t).open(p.url)
	for expression, want := range map[string]string{
		"document.compatMode": "CSS1Compat", "document.documentElement.lang": "nl", "document.documentElement.className": "a > b",
		"document.title": "Thee", "document.body.id": "b", "document.characterSet": "UTF-8",
	} {
		tab.await(expression, want)
	}
	p.write("pages/index/main.go", hello("two")) // whatever <base> says
	tab.await(text, "two")
}

func TestATabFollowsThePageThatItShows(t *testing.T) {
	const boost = `<script>
		window.boost = async u => {
			const answer = await fetch(u, {headers: {'HX-Request': 'true'}})
			put(await answer.text())
			history.pushState({}, '', u)
		}
		window.put = text => { document.body.innerHTML = new DOMParser().parseFromString(text, 'text/html').body.innerHTML }
	</script>`
	document := func(route, text string) string {
		return page(route, "", "<!doctype html><html><head><link rel=icon href=data:,>"+boost+"</head><body><h1>"+text+"</h1></body></html>")
	}
	p := newProject(t, map[string]string{
		"pages/index/main.go": document("/", "home 1"), "pages/blog/main.go": document("/blog/", "blog 1"), "pages/other/main.go": document("/other", "other"),
	})
	p.serves("/", "home 1")
	p.serves("/blog/x", "blog 1")
	p.serves("/other", "other")
	tab := newBrowser(t).open(p.url)
	tab.await(text, "home 1")
	tab.try("window.boost('/blog/x')")
	tab.await(text, "blog 1")
	tab.await("location.pathname", "/blog/x")
	tab.mark()
	p.write("pages/index/main.go", document("/", "home 2"))
	p.serves("/", "home 2")
	p.write("pages/blog/main.go", document("/blog/", "blog 2"))
	tab.await(text, "blog 2")

	tab.mark() // what a script inserts was just requested, so it is the newest
	tab.try("window.boost('/other')")
	tab.await(text, "other")
	tab.try("history.replaceState({}, '', '/other?x')")
	tab.try("put('<h1>blog 2 from memory</h1>')")
	tab.do(chromedp.NavigateBack())
	tab.await("location.pathname", "/blog/x")
	tab.await(text, "blog 2 from memory")
	p.write("pages/other/main.go", document("/other", "other 2"))
	p.serves("/other", "other 2")
	if !tab.marked() {
		t.Error("a tab was reloaded that showed what is newest")
	}
	tab.do(chromedp.NavigateForward()) // to an old version
	tab.await("location.search", "?x")
	tab.await(text, "other 2")
}
