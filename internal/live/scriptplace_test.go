package live

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestTheScriptComesBeforeWhatCouldSwallowIt(t *testing.T) {
	t.Parallel()
	for _, document := range []string{ // | is where the script goes
		"|",
		"|<p>text",
		"|text",
		" \n|text",
		"|< 5",
		"<head>|<title>x</title></head>",
		"<!doctype html>|<title>x</title>",
		"<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0//EN'>\n<HTML>\n<HEAD lang=en>|<style>",
		"<!doctype html><html><head>|<!-- <title>",
		"<!doctype html><html><head>|<style>",
		"<!doctype html><html><head>|<script>",
		"<!doctype html><html><head>|<title>",
		"<!doctype html><html><head>|<template>",
		"<!doctype html><html>|<body><textarea>",
		"<!doctype html><html>|<frameset>",
		"<!doctype html>|<header>",
		"<!doctype html>|<htmlx>",
		"<!doctype html>|<style><head>",
		"<!-- a --><!doctype html><!-- > b --!><html lang=en><!----><!--><!---><head>|<!-- -->",
		"<?xml version='1.0'?><!doctype html><html xmlns='x'><head/>|",
		"</><!doctype html></ ><head>|",
		"<!doctype html>|</body>",
		"<!doctype html>|<!-- open <html><head></head></html>",
		"<!doctype html>|<!-- open --<html><head></head></html>",
		"<!doctype html>|<!---!><head>",
		"|<!-- open <!doctype html><html><head></head></html>",
		"<!doctype html>|<html class='open><head></head>",
		"<!doctype html><html a=b'c d\"e f = '>' =\" g='/>'/><head>|",
		"<!doctype html><html>|<head class='open></head>",
		"<!doctype html><html>|<hea",
		"|<!doctype html",
		"\xef\xbb\xbf<!doctype html><head>|",
		"\xef\xbb\xbf|text",
	} {
		at := strings.Index(document, "|")
		whole := strings.Replace(document, "|", "", 1)
		if got, _ := scriptPlace([]byte(whole)); got != at {
			t.Errorf("%q: it is put to %d, want %d", whole, got, at)
		}
	}
	for _, document := range []string{"\xfe\xff\x00<", "\xff\xfe<\x00"} {
		if at, sure := scriptPlace([]byte(document)); at >= 0 || sure != final {
			t.Errorf("%q gets a script at %d", document, at)
		}
	}
}

func TestWhatMayComeBeforeTheDoctypeIsHeldBack(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{ // flushed piece by piece
		"<!-- a --> <!doctype html><html><head>x": "<!-- a --> <!doctype html>|<html><head>x",
		"\xef\xbb\xbf<!doctype html>x":            "\xef\xbb\xbf<!doctype html>|x",
		"<html><head>x":                           "<html>|<head>x",
		"text":                                    "|text",
		"<!-- " + strings.Repeat("x", 2*maxFirst) + " --><!doctype html>x":             "<!-- " + strings.Repeat("x", 2*maxFirst) + " --><!doctype html>x",
		"<!doctype html><!-- " + strings.Repeat("x", 2*maxFirst) + " --><html><head>x": "<!doctype html>|<!-- " + strings.Repeat("x", 2*maxFirst) + " --><html><head>x",
	} {
		var got bytes.Buffer
		p := tagWriter{w: &got, tag: "|"}
		for piece := range slices.Chunk([]byte(document), 1+len(document)/100) {
			p.write(piece, final)
			p.write(nil, usable)
		}
		p.write(nil, vague)
		if got.String() != want {
			t.Errorf("%.60q becomes %.60q", document, got.String())
		}
	}
}

func FuzzATagIsAddedAndNothingElse(f *testing.F) {
	f.Add("<!doctype html><html><head><body>x</body></html>", int64(1))
	f.Add("<!-- a --!><?x?><html a='>'><!-- ", int64(2))
	f.Fuzz(func(t *testing.T, document string, seed int64) {
		const tag = "\x00TAG\x00"
		if strings.Contains(document, tag) || strings.HasPrefix(document, "\xfe\xff") || strings.HasPrefix(document, "\xff\xfe") {
			return
		}
		r := rand.New(rand.NewPCG(uint64(seed), 0))
		written := func(pieces, flushed bool) string {
			var got bytes.Buffer
			p := tagWriter{w: &got, tag: tag}
			for rest := document; len(rest) > 0; {
				n := len(rest)
				if pieces {
					n = 1 + r.IntN(min(n, 9))
				}
				p.write([]byte(rest[:n]), final)
				rest = rest[n:]
				if flushed {
					p.write(nil, usable)
				}
			}
			p.write(nil, vague)
			return got.String()
		}
		whole, pieces, flushed := written(false, false), written(true, false), written(true, true)
		for _, got := range []string{whole, pieces, flushed} {
			if before, after, found := strings.Cut(got, tag); !found || before+after != document {
				t.Fatalf("%q becomes %q", document, got)
			}
		}
		if len(document) < maxFirst && whole != pieces {
			t.Fatalf("whole %q, in pieces %q", whole, pieces)
		}
	})
}
