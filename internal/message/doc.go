// Package message reads what requests and responses of HTTP/1.1 have in common:
// the fields of their headers, the lists in these, and bodies in chunks. It reads
// bytes that have come, and neither waits nor keeps anything of them. What it
// costs grows with their number, whatever they are.
package message
