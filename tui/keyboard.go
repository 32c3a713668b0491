package tui

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A terminal sends more than keys: programs query its colours, its clipboard or its
// name, and the reply may come late, when the program has ended. Bubble Tea takes the
// text of such a reply for keys. So replies are dropped before it reads them, by the
// grammar of ECMA-48, 5.4 and 5.6: a control sequence (CSI) ends with its final byte,
// and a string (OSC, DCS, APC, PM, SOS) with ST or, in xterm, with BEL.

const (
	// keyGap distinguishes alt+] from the beginning of a string, and esc from that
	// of any sequence: what a key sends comes in one piece.
	keyGap = 50 * time.Millisecond
	// replyGap is the longest pause within a reply. A reply that does not end is
	// over then, and the next key is a key again.
	replyGap = time.Second
	// longestHeld is more than any control sequence of a key or the mouse has.
	longestHeld = 64
)

// within is what the next byte is part of.
type within int

const (
	nothing    within = iota
	aString           // a reply that ends with ST
	aSequence         // a control sequence that is not a key
	pastedText        // text that was pasted
)

// introducers are the characters that introduce a sequence after esc.
const introducers = "[]P_^XO"

const pasteBegins, pasteEnds = "\x1b[200~", "\x1b[201~"

// keyboard is a terminal's input without its replies. Its fields are functions so that
// tests have their own terminal and clock.
type keyboard struct {
	read func([]byte) (int, error)
	more func(time.Duration) bool // reports whether more can be read within that time
	now  func() time.Time
	esc  func() // called for esc if what follows it would be read as alt

	within within
	held   []byte    // the beginning of an incomplete key or sequence
	last   time.Time // when something was read
}

// Read reads keys. It may return none, with no error.
func (k *keyboard) Read(p []byte) (int, error) {
	n := len(k.held)
	m, err := k.read(p[n:])
	if err != nil {
		return 0, err
	}
	now := k.now()
	if now.Sub(k.last) > replyGap && k.within != pastedText {
		copy(p, p[n:n+m])
		n, k.within = 0, nothing
	}
	copy(p, k.held[:n])
	k.last = now
	from, to := k.scan(p, 0, n+m)
	for to > from && to < len(p) && k.within == nothing && mayBeKey(p[from:to]) {
		if !k.more(keyGap) {
			from = to
			break
		}
		if m, err = k.read(p[to:]); err != nil {
			return from, err
		}
		k.last = k.now()
		if from == 0 && to == 1 && m > 0 && strings.IndexByte(introducers, p[1]) < 0 {
			k.esc()
			to = copy(p, p[1:1+m])
			m = 0
		}
		from, to = k.scan(p, from, to+m)
	}
	k.held = append(k.held[:0], p[from:to]...)
	return from, nil
}

// scan drops from p[from:to] what is not a key. The keys end at the first result. The
// beginning of an incomplete key or sequence follows them, up to the second.
func (k *keyboard) scan(p []byte, from, to int) (keys, end int) {
	keys = from
	for from < to {
		n, pass, complete := k.next(p[from:to])
		if pass {
			keys += copy(p[keys:], p[from:from+n])
		}
		from += n
		if !complete {
			break
		}
	}
	return keys, keys + copy(p[keys:], p[from:to])
}

// next returns how many bytes at the beginning of b belong together, and whether they
// are passed on. If not complete, it needs more bytes for what follows them.
func (k *keyboard) next(b []byte) (n int, pass, complete bool) {
	switch k.within {
	case aString:
		n, complete = k.inString(b)
		return n, false, complete
	case aSequence:
		return k.inSequence(b), false, true
	case pastedText:
		if i := bytes.Index(b, []byte(pasteEnds)); i >= 0 {
			k.within = nothing
			return i + len(pasteEnds), true, true
		}
		for n = max(0, len(b)-len(pasteEnds)+1); !bytes.HasPrefix([]byte(pasteEnds), b[n:]); n++ {
		}
		return n, true, n == len(b)
	}
	switch {
	case b[0] >= utf8.RuneSelf:
		return k.character(b)
	case b[0] != '\x1b':
		return 1, true, true
	case len(b) == 1:
		return 0, false, false
	}
	switch b[1] {
	case ']', 'P', '_', '^', 'X':
		if len(b) == 2 {
			return 0, false, false
		}
		k.within = aString
		return 2, false, true
	case '[':
		return k.sequence(b)
	case 'O':
		return whole(b, 3)
	}
	return 1, true, true // alt, with the key that follows
}

// inString returns how much of b is in a string, up to its end if b contains it. Any
// other control character ends an unfinished string, and is a key.
func (k *keyboard) inString(b []byte) (n int, complete bool) {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\a':
			k.within = nothing
			return i + 1, true
		case c == '\x1b' && i == len(b)-1, c >= utf8.RuneSelf && !utf8.FullRune(b[i:]):
			return i, false
		case c == '\x1b' && b[i+1] == '\\':
			k.within = nothing
			return i + 2, true
		case c < ' ' && (c < '\b' || c > '\r'):
			k.within = nothing
			return i, true
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && c == 0x9c { // ST of terminals that use eight bits
				k.within = nothing
				return i + 1, true
			}
			i += size - 1
		}
	}
	return len(b), true
}

// inSequence returns how much of b is in a control sequence, up to its end if b
// contains it.
func (k *keyboard) inSequence(b []byte) int {
	for i, c := range b {
		switch {
		case c < ' ':
			k.within = nothing
			return i
		case c >= '@' && c <= '~':
			k.within = nothing
			return i + 1
		}
	}
	return len(b)
}

// sequence is next for a control sequence.
func (k *keyboard) sequence(b []byte) (n int, pass, complete bool) {
	i := 2
	if len(b) > i {
		switch b[i] {
		case '[': // a function key of the console of Linux
			return whole(b, 4)
		case 'M': // the mouse of X10
			return whole(b, 6)
		}
	}
	for ; i < len(b) && b[i] >= '0' && b[i] <= '?'; i++ { // parameters
	}
	for ; i < len(b) && b[i] >= ' ' && b[i] <= '/'; i++ { // intermediate bytes
	}
	switch {
	case i == len(b) && i <= longestHeld:
		return 0, false, false
	case i == len(b) || b[i] < '@' || b[i] > '~':
		k.within = aSequence
		return i, false, true
	case string(b[:i+1]) == pasteBegins:
		k.within = pastedText
	}
	return i + 1, true, true
}

// whole is next for a key of n bytes.
func whole(b []byte, n int) (int, bool, bool) {
	if len(b) < n {
		return 0, false, false
	}
	return n, true, true
}

// character is next for a character of several bytes, and for the 8-bit controls that
// are the same as esc and a character.
func (k *keyboard) character(b []byte) (n int, pass, complete bool) {
	if !utf8.FullRune(b) {
		return 0, false, false
	}
	if r, size := utf8.DecodeRune(b); r != utf8.RuneError || size > 1 {
		return size, true, true
	}
	switch b[0] {
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f:
		k.within = aString
	case 0x9b:
		k.within = aSequence
	}
	return 1, false, true
}

// mayBeKey reports whether b is a key if nothing follows it: esc, alt with a character,
// or a key of rxvt.
func mayBeKey(b []byte) bool {
	return b[0] == '\x1b' && (len(b) < 3 || rxvtKey.Match(b))
}

var rxvtKey = regexp.MustCompile(`^\x1b\[\d+\$$`)

// terminalInput is a keyboard for Bubble Tea, which also needs the file to set the
// terminal's mode and to stop waiting for input.
type terminalInput struct {
	*os.File
	keyboard keyboard
}

func inputOf(f *os.File, esc func()) *terminalInput {
	return &terminalInput{f, keyboard{read: f.Read, more: func(d time.Duration) bool { return readable(int(f.Fd()), d) }, now: time.Now, esc: esc}}
}

func (in *terminalInput) Read(p []byte) (int, error) { return in.keyboard.Read(p) }

// readable reports whether a file can be read within a time.
func readable(fd int, wait time.Duration) bool {
	for {
		var set unix.FdSet
		set.Set(fd)
		timeout := unix.NsecToTimeval(int64(wait))
		n, err := unix.Select(fd+1, &set, nil, nil, &timeout)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}
