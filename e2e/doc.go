// Package e2e holds tests that look at the server as people do: with a browser,
// on real pages. It is a module of its own, so that the server's stays lean.
package e2e
