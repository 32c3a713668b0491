package tui

import "time"

// toastTime is how long a toast is shown.
const toastTime = 4 * time.Second

// toast is a message of the screen itself. It is shown for a while in the footer.
type toast struct {
	text   string
	number int // of toasts so far
	timed  int // the number of the toast whose timer runs
}

// showToast shows a message for a while. It returns no command.
func (m *model) showToast(text string) cmd {
	m.toast.text = text
	m.toast.number++
	return nil
}

// expireToast removes the newest toast when its time is over.
func (m *model) expireToast() cmd {
	if m.toast.timed == m.toast.number {
		return nil
	}
	n := m.toast.number
	m.toast.timed = n
	return m.later(toastTime, expireToastMsg(n))
}
