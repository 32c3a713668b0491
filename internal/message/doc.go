// Package message parses what requests and responses of HTTP/1.1 have in common:
// header fields, lists in them, and chunked bodies. It works on bytes that have
// arrived, does not wait, and keeps none of them. Its cost is linear in their
// number, whatever they are.
package message
