// Package live is what a browser sees while somebody develops: a tab is reloaded
// when the newest version of its page serves, and told what broke if there is
// none.
//
// It is a front end like the terminal: it follows a [state.Source], the store,
// and asks the engine for nothing. [Live.Dress] puts one script into HTML answers
// on their way to the client, [Live.Explain] writes the error pages, and
// [Live.ServeHTTP] answers below [Reserved]: the script itself, one stream of
// events for all tabs of a browser, and the wish to see a file in the editor.
//
// What a tab would be shown if it were loaded now is called the face of its
// page. Every answer carries the face it shows, the stream tells the present
// ones, and a tab that shows another one reloads. So nothing is lost when a
// connection is: who comes back compares.
//
// The package's goroutines are [Live.Run], and one for each answer whose content
// must be decoded, which ends with that answer.
package live
