// Package static serves files: the public folder of each page, below the page's
// route, and the folders that the configuration names.
//
// Find opens the file of a request, or reports that there is none, so that the page
// can respond. A folder is kept open as an [os.Root], so that no name and no link
// leads out of it, and a file is checked by its descriptor, not by its name. A
// folder that does not exist costs a request nothing: Refresh looks for it when
// something has changed.
//
// The package starts no goroutines. A folder that is not needed any more is closed
// at once; a request that has opened a file in it keeps the file.
package static
