package tui

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/google/go-cmp/cmp"
)

// piece is something that a terminal sends, a while after the one before.
type piece struct {
	after time.Duration
	text  string
}

// typist is a terminal that sends pieces, with a clock of its own.
type typist struct {
	pieces []piece
	at     time.Time
	ended  func()
}

func (t *typist) read(p []byte) (int, error) {
	if len(t.pieces) == 0 {
		t.ended()
		return 0, io.EOF
	}
	next := &t.pieces[0]
	t.at = t.at.Add(next.after)
	n := copy(p, next.text)
	if next.after, next.text = 0, next.text[n:]; next.text == "" {
		t.pieces = t.pieces[1:]
	}
	return n, nil
}

func (t *typist) more(wait time.Duration) bool {
	if len(t.pieces) > 0 && t.pieces[0].after <= wait {
		return true
	}
	t.at = t.at.Add(wait)
	if len(t.pieces) > 0 {
		t.pieces[0].after -= wait
	}
	return false
}

// keyNotes is a program that notes the keys it gets.
type keyNotes struct{ keys []string }

func (n *keyNotes) Init() tea.Cmd { return nil }
func (n *keyNotes) View() string  { return "" }
func (n *keyNotes) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyMsg:
		n.keys = append(n.keys, msg.String())
	case tea.MouseMsg:
		n.keys = append(n.keys, "mouse "+msg.String())
	}
	return n, nil
}

// keysFrom is what Bubble Tea makes of what a terminal sends.
func keysFrom(t testing.TB, pieces ...piece) []string {
	t.Helper()
	terminal := &typist{pieces: slices.Clone(pieces), at: noon}
	notes := new(keyNotes)
	in := &keyboard{read: terminal.read, more: terminal.more, now: func() time.Time { return terminal.at }}
	var p *tea.Program
	in.esc = func() { p.Send(tea.KeyMsg{Type: tea.KeyEsc}) }
	p = tea.NewProgram(notes, tea.WithInput(readerFunc(in.Read)), tea.WithOutput(io.Discard), tea.WithoutRenderer(), tea.WithoutSignalHandler())
	terminal.ended = func() { go p.Quit() } // ends with the program
	if _, err := p.Run(); err != nil {
		t.Fatal(err)
	}
	return notes.keys
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// answers are what terminals send that is no key.
var answers = map[string]string{
	"OSC 10":               "\x1b]10;rgb:d0d0/d0d0/d0d0\x07",
	"OSC 11 ended by ST":   "\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\",
	"OSC 52":               "\x1b]52;c;eHJiUkJRcQ==\x07",
	"OSC 52, long":         "\x1b]52;c;" + strings.Repeat("eHJiUkJRcQ==", 1000) + "\x07",
	"a title with letters": "\x1b]lRestart x ü 日本\x1b\\",
	"XTVERSION":            "\x1bP>|xterm(390)\x1b\\",
	"DECRQSS":              "\x1bP1$r0;1m\x1b\\",
	"XTGETTCAP":            "\x1bP1+r544e=787465726d\x1b\\",
	"tertiary attributes":  "\x1bP!|7E565445\x1b\\",
	"APC":                  "\x1b_Gi=31;OK\x1b\\",
	"PM":                   "\x1b^quit\x1b\\",
	"SOS":                  "\x1bXquit\x1b\\",
	"eight bits":           "\x9d11;rgb:1e1e\x9c\x90>|x\x9c\x9b?62;22c",
	"primary attributes":   "\x1b[?62;22c",
	"secondary attributes": "\x1b[>41;390;0c",
	"position":             "\x1b[24;80R",
	"DECRPM":               "\x1b[?2026;2$y",
	"focus":                "\x1b[I\x1b[O",
	"window":               "\x1b[8;24;80t",
	"keyboard":             "\x1b[?0u",
	"no sequence at all":   "\x1b[?1$1x\x1b[" + strings.Repeat("1;", 1000) + "q",
	"a string in another":  "\x1b]11;rgb\x1bP>|x\x1b\\",
}

func TestAnswersOfTheTerminalAreNoKeys(t *testing.T) {
	for name, answer := range answers {
		if got := strings.Join(keysFrom(t, piece{0, "j" + answer + "q"}), ""); got != "jq" {
			t.Errorf("%s, in one piece: %.60q, want jq", name, got)
		}
		for at := 1; at < min(len(answer), 40); at++ {
			// A pause after esc, or after the two bytes that begin a sequence,
			// is a person's.
			pause := 600 * time.Millisecond
			if strings.LastIndex(answer[:at], "\x1b") >= at-2 {
				pause = 20 * time.Millisecond
			}
			if got := strings.Join(keysFrom(t, piece{0, "j" + answer[:at]}, piece{pause, answer[at:]}, piece{0, "q"}), ""); got != "jq" {
				t.Errorf("%s, with %.20q after %v: %.60q, want jq", name, answer[at:], pause, got)
			}
		}
	}
}

func TestAnAnswerWithoutEndDoesNotTakeTheKeysForEver(t *testing.T) {
	for _, begun := range []string{"\x1b]11;rgb:1e1e", "\x1bP1$r", "\x1b[?62;2", "\x1b_G", "\x1b]11;rgb\x1b", "\x9d1", "\x1b[" + strings.Repeat("1;", 100), "\xe6\x97"} {
		if diff := cmp.Diff([]string{"j", "k"}, keysFrom(t, piece{0, begun}, piece{2 * time.Second, "j"}, piece{time.Second, "k"})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", begun, diff)
		}
	}
	if diff := cmp.Diff([]string{"ctrl+c"}, keysFrom(t, piece{0, "\x1b]11;rgb"}, piece{ms, "\x03"})); diff != "" {
		t.Errorf("ctrl+c in the middle of an answer (-want +got):\n%s", diff)
	}
}

func TestKeysAreKeysStill(t *testing.T) {
	pause := 100 * time.Millisecond
	for _, tt := range []struct {
		sent []piece
		want []string
	}{
		{[]piece{{0, "\x1b"}}, []string{"esc"}},
		{[]piece{{0, "\x1b"}, {pause, "]"}}, []string{"esc", "]"}},
		{[]piece{{0, "\x1b"}, {pause, "\x1b"}, {pause, "[A"}}, []string{"esc", "esc", "[A"}},
		{[]piece{{0, "\x1b"}, {ms, "[A"}}, []string{"up"}},
		{[]piece{{0, "\x1b"}, {ms, "j"}, {ms, "\x1b"}, {ms, "\x1b[A"}}, []string{"esc", "j", "esc", "up"}},
		{[]piece{{0, "\x1b]"}, {pause, "j"}}, []string{"alt+]", "j"}},
		{[]piece{{0, "\x1bP"}, {pause, "x"}}, []string{"alt+P", "x"}},
		{[]piece{{0, "\x1bX"}}, []string{"alt+X"}},
		{[]piece{{0, "\x1b^"}}, []string{"alt+^"}},
		{[]piece{{0, "\x1b_"}}, []string{"alt+_"}},
		{[]piece{{0, "\x1b["}, {pause, "j"}}, []string{"alt+[", "j"}},
		{[]piece{{0, "\x1bO"}, {pause, "j"}}, []string{"alt+O", "j"}},
		{[]piece{{0, "\x1bOP\x1b[15~\x1b[1;5A\x1b\x1b[A\x1b[[A"}}, []string{"f1", "f5", "ctrl+up", "alt+up", "f1"}},
		{[]piece{{0, "\x1b[7$"}, {pause, "j"}}, []string{"shift+home", "j"}},
		{[]piece{{0, "\x1bjx\x1bé"}}, []string{"alt+j", "x", "alt+é"}},
		{[]piece{{0, "日\xe6\x9c"}, {ms, "\xac"}}, []string{"日", "本"}},
		{[]piece{{0, "a\xff"}, {ms, "b"}}, []string{"a", "b"}},
		{[]piece{{0, "\x00\x03\x1a\x7f"}}, []string{"ctrl+@", "ctrl+c", "ctrl+z", "backspace"}},
		{[]piece{{0, "\x1b[200~\x1b]0;x\x07 q"}, {2 * time.Second, "y\x1b[20"}, {2 * time.Second, "1~z"}}, []string{"[\x1b]0;x\a qy]", "z"}},
		{[]piece{{0, "\x1b[<0;3;4M"}, {0, "\x1b[M"}, {ms, " !!"}}, []string{"mouse left press", "mouse left press"}},
	} {
		if diff := cmp.Diff(tt.want, keysFrom(t, tt.sent...)); diff != "" {
			t.Errorf("%+q (-want +got):\n%s", fmt.Sprint(tt.sent), diff)
		}
	}
	long := strings.Repeat("jk", 1000)
	if got := strings.Join(keysFrom(t, piece{0, long}), ""); got != long {
		t.Errorf("of %d keys %d came", len(long), len(got))
	}
}

// FuzzKeyboard sends anything in any pieces: what begins with a pause and has
// no escape is read as it was sent.
func FuzzKeyboard(f *testing.F) {
	f.Add("\x1b]11;rgb\x1b", "hello", 3)
	f.Add("\x1b[200", "~é", 1)
	f.Fuzz(func(t *testing.T, before, keys string, step int) {
		for _, r := range keys {
			if r < ' ' || r >= 0x7f {
				t.Skip()
			}
		}
		if strings.Contains(before, pasteBegins) {
			t.Skip() // a paste has no end but its own
		}
		terminal := &typist{at: noon, ended: func() {}}
		for step = max(1, step%100); len(before) > 0; before = before[min(step, len(before)):] {
			terminal.pieces = append(terminal.pieces, piece{20 * time.Millisecond, before[:min(step, len(before))]})
		}
		terminal.pieces = append(terminal.pieces, piece{2 * time.Second, keys})
		k := keyboard{read: terminal.read, more: terminal.more, now: func() time.Time { return terminal.at }, esc: func() {}}
		var got []byte
		var p [256]byte
		for {
			m, err := k.Read(p[:])
			if err != nil {
				break
			}
			got = append(got, p[:m]...)
		}
		if !strings.HasSuffix(string(got), keys) {
			t.Fatalf("%q came of %q", got, keys)
		}
	})
}
