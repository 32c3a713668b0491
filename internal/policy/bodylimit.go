package policy

import "net/http"

// BodyTooLarge refuses a request whose body is above the limit.
var BodyTooLarge = Refusal{Status: http.StatusRequestEntityTooLarge, Title: "Content too large", Detail: "The request body is larger than this page accepts."}

// limitBody returns a gate that refuses a body which is known to be above the limit,
// and has the limit enforced while a body of unknown length is read. Where there is
// no page, nobody reads a body.
func limitBody(limit int) Gate {
	if limit == 0 {
		return nil
	}
	return func(x *Exchange) *Refusal {
		if x.Route != "" && x.Request.ContentLength > int64(limit) {
			return &BodyTooLarge
		}
		x.MaxBody = int64(limit)
		return nil
	}
}
