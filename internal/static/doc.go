// Package static serves files in the pages' place: what lies in the public
// folder of a page, under the page's route, and what the configuration names.
//
// Find opens what a request asks for, or says that there is no such file, and
// then somebody else answers. A folder is held open as an [os.Root], so that no
// name and no link leads out of it, and a file is judged by its descriptor, not
// by its name. Folders that are not there cost a request nothing: whether one
// came or went is looked at when Changed tells of it.
//
// The package starts no goroutines. A folder that is not asked for any more is
// closed at once; requests that opened a file in it keep the file.
package static
