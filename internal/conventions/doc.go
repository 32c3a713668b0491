// Package conventions holds the tests that keep the tree as it is meant to be:
// who may import whom, that every package says what it is for, and what must
// not be in any file. It has no code of its own.
package conventions
