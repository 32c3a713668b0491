package proxy

// Who the client is. Each proxy appends its client to X-Forwarded-For, so the proxy next
// to us wrote the right end of the list, and anybody may have written the left end.
// Others take the left end, which a client can forge, or count proxies from the right,
// which is wrong as soon as there is another way in. Here the list is read from the
// right as long as the addresses are those of trusted proxies. The first that is not
// is the client that the last of them has seen.
//
// Forwarded (RFC 7239) would say the same. Hardly any proxy writes it, and one that
// does not know it passes a client's on, so it decides nothing here.

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"tqserver/internal/upstream"
)

// clientAddr returns the client's address. The peer is a trusted proxy, and lines are
// those of X-Forwarded-For, in order. The client's address is the first from the right
// that is not trusted, or the leftmost if all are. At an element that is no address the
// search ends: no trusted proxy wrote what stands before it.
func clientAddr(peer netip.Addr, lines []string, trusted []netip.Prefix) netip.Addr {
	client := peer
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			var element string
			element, rest, more = cutLast(rest)
			if element == "" {
				continue // lists may hold nothing (RFC 9110 section 5.6.1.2)
			}
			addr, ok := addrOf(element)
			if !ok {
				return client
			}
			client = addr
			if !contains(trusted, addr) {
				return client
			}
		}
	}
	return client
}

// cutLast returns the last element of a list, what is before it, and whether
// there is anything before it.
func cutLast(list string) (last, before string, more bool) {
	comma := strings.LastIndexByte(list, ',')
	return strings.Trim(list[comma+1:], " \t"), list[:max(0, comma)], comma >= 0
}

// addrOf parses an address, with or without a port: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1], [2001:db8::1]:80.
func addrOf(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if inside, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inside, "]") {
		addr, err = netip.ParseAddr(inside[:len(inside)-1])
		if addr.Is4() {
			return netip.Addr{}, false
		}
	} else if err != nil {
		var with netip.AddrPort
		with, err = netip.ParseAddrPort(s)
		addr = with.Addr()
	}
	if err != nil {
		return netip.Addr{}, false
	}
	return bare(addr), true
}

// bare returns an address as it is compared and written: IPv4 as such, however
// it came, and without a zone, which means nothing on another machine and which
// [netip.Prefix.Contains] never finds.
func bare(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// appendForwarded appends who sent a request to the fields that the worker sees, after
// what trusted proxies say of it.
func (who *identity) appendForwarded(in *http.Request, fields []upstream.Field) []upstream.Field {
	host := in.Host
	var room [4]string
	chain := room[:0]
	if who.trusted {
		for _, line := range in.Header["X-Forwarded-For"] {
			if line != "" {
				chain = append(chain, line)
			}
		}
		if forwarded, ok := forwardedHost(in.Header["X-Forwarded-Host"]); ok {
			host = forwarded
		}
	}
	if who.peer.IsValid() {
		chain = append(chain, who.peer.String())
	}
	if len(chain) > 0 {
		fields = append(fields, upstream.Field{Name: "X-Forwarded-For", Value: strings.Join(chain, ", ")})
	}
	return append(fields, upstream.Field{Name: "X-Forwarded-Proto", Value: who.scheme}, upstream.Field{Name: "X-Forwarded-Host", Value: host})
}

// aboutClient reports whether only trusted proxies may send a field.
func aboutClient(name string) bool {
	return strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip"
}

// forwardedProto returns the scheme in X-Forwarded-Proto, if it is one of
// ours. If proxies made a list of it, the last member is of the proxy next to us.
func forwardedProto(lines []string) (string, bool) {
	switch proto := strings.ToLower(lastOf(lines)); proto {
	case "http", "https":
		return proto, true
	case "ws", "wss": // by which some proxies name a request for a WebSocket
		return "http" + proto[2:], true
	}
	return "", false
}

// forwardedHost returns the host in X-Forwarded-Host, if it can be one.
func forwardedHost(lines []string) (string, bool) {
	host := lastOf(lines)
	return host, isHost(host)
}

// lastOf returns the last element of a list that may have several lines.
func lastOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	last, _, _ := cutLast(lines[len(lines)-1])
	return last
}

// maxHost is the length of the longest name in DNS, in text (RFC 1035 section
// 2.3.4).
const maxHost = 253

// isHost reports whether s is a name or an address, with or without a port. It
// is narrower than RFC 3986 section 3.2.2: pages write this into links.
func isHost(s string) bool {
	name, port := s, ""
	if colon := strings.LastIndexByte(s, ':'); colon > strings.LastIndexByte(s, ']') {
		name, port = s[:colon], s[colon+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	if inside, ok := strings.CutPrefix(name, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inside, "]"))
		return err == nil && addr.Is6() && addr.Zone() == "" && strings.HasSuffix(inside, "]")
	}
	if name == "" || len(name) > maxHost {
		return false
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}
