package proxy

import (
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/upstream"
)

func prefixes(t testing.TB, texts ...string) (all []netip.Prefix) {
	t.Helper()
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestTheClientIsTheFirstFromTheRightThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	ours := prefixes(t, "10.0.0.0/8", "127.0.0.1/32", "fd00::/8", "fe80::/10")
	for _, tt := range []struct {
		peer string // "" for 10.0.0.1
		sent []string
		want string
	}{
		{sent: nil, want: "10.0.0.1"},
		{sent: []string{"192.0.2.7"}, want: "192.0.2.7"},
		{peer: "198.51.100.1", sent: []string{"192.0.2.7"}, want: "198.51.100.1"},
		{peer: "fd00::1", sent: []string{"2001:db8::7"}, want: "2001:db8::7"},
		{peer: "2001:db8::1", sent: []string{"2001:db8::7"}, want: "2001:db8::1"},
		{peer: "::ffff:10.0.0.1", sent: []string{"192.0.2.7"}, want: "192.0.2.7"},
		{peer: "fe80::1%eth0", sent: []string{"192.0.2.7"}, want: "192.0.2.7"},
		// what a client wrote itself stands on the left
		{sent: []string{"6.6.6.6, 192.0.2.7"}, want: "192.0.2.7"},
		{sent: []string{"6.6.6.6, 192.0.2.7, 10.0.0.3, 10.0.0.2"}, want: "192.0.2.7"},
		{sent: []string{"10.0.0.9, 192.0.2.7, 10.0.0.2"}, want: "192.0.2.7"},
		// several lines are one list
		{sent: []string{"6.6.6.6", "192.0.2.7", "10.0.0.2"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7, 10.0.0.4", "10.0.0.3, 10.0.0.2", "10.0.0.1"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7", "", " ,"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7,,10.0.0.2,\t"}, want: "192.0.2.7"},
		{sent: []string{"", ",", " , "}, want: "10.0.0.1"},
		// all are trusted
		{sent: []string{"10.0.0.4, 10.0.0.3", "10.0.0.2"}, want: "10.0.0.4"},
		{sent: []string{"127.0.0.1"}, want: "127.0.0.1"},
		// what is no address ends it
		{sent: []string{"unknown"}, want: "10.0.0.1"},
		{sent: []string{"192.0.2.7, unknown"}, want: "10.0.0.1"},
		{sent: []string{"192.0.2.7, _hidden, 10.0.0.2"}, want: "10.0.0.2"},
		{sent: []string{"unknown, 192.0.2.7, 10.0.0.2"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7 10.0.0.2"}, want: "10.0.0.1"},
		{sent: []string{"192.0.2.7; 10.0.0.2"}, want: "10.0.0.1"},
		{sent: []string{"192.0.2.256"}, want: "10.0.0.1"},
		{sent: []string{"192.0.2.07"}, want: "10.0.0.1"},
		{sent: []string{"10.0.0.0/8"}, want: "10.0.0.1"},
		{sent: []string{"for=192.0.2.7"}, want: "10.0.0.1"},
		{sent: []string{`"192.0.2.7"`}, want: "10.0.0.1"},
		{sent: []string{"localhost"}, want: "10.0.0.1"},
		// ports, brackets, zones, IPv4 in IPv6
		{sent: []string{"192.0.2.7:5678"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7, 10.0.0.2:80"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7:"}, want: "10.0.0.1"},
		{sent: []string{"192.0.2.7:65536"}, want: "10.0.0.1"},
		{sent: []string{"[2001:db8::7]:80"}, want: "2001:db8::7"},
		{sent: []string{"[2001:db8::7]"}, want: "2001:db8::7"},
		{sent: []string{"2001:DB8:0::7"}, want: "2001:db8::7"},
		{sent: []string{"[2001:db8::7"}, want: "10.0.0.1"},
		{sent: []string{"2001:db8::7]"}, want: "10.0.0.1"},
		{sent: []string{"[]"}, want: "10.0.0.1"},
		{sent: []string{"[192.0.2.7]"}, want: "10.0.0.1"},
		{sent: []string{"[192.0.2.7]:80"}, want: "10.0.0.1"},
		{sent: []string{"::ffff:192.0.2.7"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7, ::ffff:10.0.0.2"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7, [::ffff:10.0.0.2]:80"}, want: "192.0.2.7"},
		{sent: []string{"192.0.2.7, fd00::2%eth0"}, want: "192.0.2.7"},
		{sent: []string{"fe80::7%eth0, fd00::2"}, want: "fe80::7"},
		{sent: []string{"[2001:db8::7%eth0]:80"}, want: "2001:db8::7"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(orElse(tt.peer, "10.0.0.1")), 1234).String()
		r.Header["X-Forwarded-For"] = tt.sent
		if _, got := identify(r, ours); got.String() != tt.want {
			t.Errorf("from %s, forwarded for %q: the client is %s, want %s", r.RemoteAddr, tt.sent, got, tt.want)
		}
		peer := bare(netip.MustParseAddrPort(r.RemoteAddr).Addr())
		if _, got := identify(r, nil); got != peer {
			t.Errorf("from %s, forwarded for %q, nobody trusted: the client is %s", r.RemoteAddr, tt.sent, got)
		}
	}
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// The walk is compared with another that splits the whole list.
func FuzzTheClientIsThePeerOrStandsInTheHeader(f *testing.F) {
	f.Add("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.2", "10.0.0.3")
	f.Add("fd00::1", "[2001:db8::7]:80,,unknown", "")
	f.Add("192.0.2.1", "::ffff:10.0.0.2, fe80::1%eth0", "1.2.3.4:5")
	ours := prefixes(f, "10.0.0.0/8", "fd00::/8")
	f.Fuzz(func(t *testing.T, from, first, second string) {
		addr, err := netip.ParseAddr(from)
		if err != nil || strings.ContainsAny(addr.Zone(), "[]%") {
			t.Skip()
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = netip.AddrPortFrom(addr, 1).String()
		r.Header["X-Forwarded-For"] = []string{first, second}
		peer := bare(addr)
		if _, got := identify(r, nil); got != peer {
			t.Errorf("nobody trusted: the client is %s, not %s", got, peer)
		}
		want := peer
		if contains(ours, peer) {
			elements := strings.Split(first+","+second, ",")
			for _, element := range slices.Backward(elements) {
				element = strings.Trim(element, " \t")
				addr, ok := addrOf(element)
				if element != "" && !ok {
					break
				}
				if ok {
					want = addr
				}
				if ok && !contains(ours, addr) {
					break
				}
			}
		}
		_, got := identify(r, ours)
		if got != want {
			t.Errorf("from %s, forwarded for %q and %q: the client is %s, want %s", from, first, second, got, want)
		}
		if again, ok := addrOf(got.String()); !ok || again != got || got.Is4In6() || got.Zone() != "" {
			t.Errorf("%s is not written as others read it", got)
		}
	})
}

// forwardedBy returns what a worker sees of who sent a request.
func forwardedBy(t *testing.T, f *front, header string) map[string]string {
	t.Helper()
	_, got := seenBy(t, f, "GET / HTTP/1.1\r\nHost: shop.example:8080\r\n"+header+"\r\n")
	seen := map[string]string{}
	for name, lines := range got {
		if aboutClient(name) {
			seen[name] = strings.Join(lines, " | ")
		}
	}
	return seen
}

const nominated = "Connection: X-Forwarded-For, x-forwarded-proto, X-FORWARDED-HOST, X-Forwarded-Port, Forwarded, X-Real-Ip\r\n"

const everything = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 192.0.2.7, 10.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: site.example\r\n" +
	"X-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /shop\r\nX-Forwarded-Tls-Client-Cert: x\r\nForwarded: for=192.0.2.7\r\nX-Real-Ip: 192.0.2.7\r\n"

func TestWhatAnUntrustedClientForwardsNeverReachesTheWorker(t *testing.T) {
	t.Parallel()
	s := generous
	s.TrustedProxies = prefixes(t, "10.0.0.0/8", "::1/128")
	f := newFront(t, s)
	want := map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.example:8080"}
	for _, header := range []string{"", everything, everything + nominated, nominated + everything, nominated} {
		if diff := cmp.Diff(want, forwardedBy(t, f, header)); diff != "" {
			t.Errorf("sent %q (-want +got):\n%s", header, diff)
		}
	}
}

func TestWhatATrustedProxyForwardsReachesTheWorker(t *testing.T) {
	t.Parallel()
	s := generous
	s.TrustedProxies = prefixes(t, "127.0.0.0/8", "10.0.0.0/8")
	f := newFront(t, s)
	for _, header := range []string{everything, everything + nominated, nominated + everything} {
		want := map[string]string{
			"X-Forwarded-For": "6.6.6.6, 192.0.2.7, 10.0.0.2, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "site.example",
			"X-Forwarded-Port": "443", "X-Forwarded-Prefix": "/shop", "X-Forwarded-Tls-Client-Cert": "x", "Forwarded": "for=192.0.2.7", "X-Real-Ip": "192.0.2.7",
		}
		if diff := cmp.Diff(want, forwardedBy(t, f, header)); diff != "" {
			t.Errorf("sent %q (-want +got):\n%s", header, diff)
		}
	}
	for header, want := range map[string]string{
		"":                                   "127.0.0.1 http shop.example:8080",
		nominated:                            "127.0.0.1 http shop.example:8080",
		"X-Forwarded-For:\r\n":               "127.0.0.1 http shop.example:8080",
		"X-Forwarded-For: odd\r\n":           "odd, 127.0.0.1 http shop.example:8080",
		"X-Forwarded-Proto: wss\r\n":         "127.0.0.1 https shop.example:8080",
		"X-Forwarded-Proto: HTTPS\r\n":       "127.0.0.1 https shop.example:8080",
		"X-Forwarded-Proto: http, https\r\n": "127.0.0.1 https shop.example:8080",
		"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n":      "127.0.0.1 http shop.example:8080",
		"X-Forwarded-Proto: https,\r\n":                                "127.0.0.1 http shop.example:8080",
		"X-Forwarded-Proto: javascript\r\n":                            "127.0.0.1 http shop.example:8080",
		"X-Forwarded-Host: a.example, b.example:81\r\n":                "127.0.0.1 http b.example:81",
		"X-Forwarded-Host: a.example\r\nX-Forwarded-Host: evil/x?\r\n": "127.0.0.1 http shop.example:8080",
	} {
		got := forwardedBy(t, f, header)
		if seen := got["X-Forwarded-For"] + " " + got["X-Forwarded-Proto"] + " " + got["X-Forwarded-Host"]; seen != want {
			t.Errorf("sent %q: the worker sees %q, want %q", header, seen, want)
		}
	}
}

func TestTrustFollowsTheSettings(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for _, tt := range []struct {
		trusted []netip.Prefix
		want    string
	}{
		{nil, "127.0.0.1"},
		{prefixes(t, "127.0.0.0/8"), "192.0.2.7, 127.0.0.1"},
		{prefixes(t, "::1/128"), "127.0.0.1"},
	} {
		s := generous
		s.TrustedProxies = tt.trusted
		f.proxy.Configure(s)
		if got := forwardedBy(t, f, "X-Forwarded-For: 192.0.2.7\r\n")["X-Forwarded-For"]; got != tt.want {
			t.Errorf("%v trusted: the worker sees %q, want %q", tt.trusted, got, tt.want)
		}
	}
}

func TestAPeerWithoutAnAddressIsNobody(t *testing.T) {
	t.Parallel()
	for _, remote := range []string{"", "@", "pipe"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		who, client := identify(r, prefixes(t, "0.0.0.0/0", "::/0"))
		out := who.appendForwarded(r, nil)
		if slices.ContainsFunc(out, func(f upstream.Field) bool { return f.Name == "X-Forwarded-For" }) || who.trusted || client.IsValid() {
			t.Errorf("of %q the worker sees %q, and the client is %s", remote, out, client)
		}
	}
}

func TestAHostIsAHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"a": true, "shop.example": true, "Shop.Example.:8080": true, "192.0.2.7": true, "192.0.2.7:1": true, "[::1]": true, "[2001:db8::1]:443": true,
		"under_score.example": true, "xn--4ca.example:65535": true, strings.Repeat("a", 253): true,
		"": false, ":80": false, "a:": false, "a:0": false, "a:65536": false, "a:b": false, "a:+1": false, "a:1:2": false, "a b": false, "a/b": false, "a?b": false,
		"a@b": false, "a\\b": false, "a\"b": false, "ä.example": false, "::1": false, "[::1": false, "::1]": false, "[::1]x": false, "[::1%eth0]": false,
		"[192.0.2.7]": false, "[]": false, "[": false, "]": false, "a%00": false, "<b>": false, strings.Repeat("a", 254): false,
	} {
		if got := isHost(host); got != want {
			t.Errorf("isHost(%q) = %t", host, got)
		}
	}
}
