package policy

import "net/http"

// Dress changes the request for a document, and the response on its way to the
// client: see [Writer] for what it returns. The route is empty if there is no page.
type Dress func(w http.ResponseWriter, r *http.Request, route string) (dressed http.ResponseWriter, end func(whole bool))

// dressDocuments has documents dressed, and nothing else.
func dressDocuments(dress Dress) Writer {
	return func(x *Exchange, w http.ResponseWriter) (http.ResponseWriter, func(whole bool)) {
		if !x.Document {
			return w, nil
		}
		return dress(w, x.Request, x.Route)
	}
}
