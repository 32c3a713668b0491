// Package live shows a developer's browser what becomes of a page: a tab reloads
// when the newest version serves, and shows the error if there is none.
//
// It is a front end like the terminal: it follows a [state.Source] and sends no
// commands. [Live.Dress] inserts one script into HTML responses, [Live.Explain]
// writes error pages, and [Live.ServeHTTP] answers requests below [Reserved]: for
// the script itself, for one stream of events for all tabs of a browser, and to
// open a file in the editor.
//
// The face of a page is what a tab would show if it were loaded now. Every document
// carries the face it shows, the stream sends the current faces, and a tab that
// shows another one reloads. So no event has to arrive: a tab that was disconnected
// compares.
//
// The package's goroutines are [Live.Run], and one for each response whose content
// must be decoded, which ends with the response.
package live
