package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tqserver/internal/policy"
)

// refusalError is a refusal where an error is returned.
type refusalError struct{ *policy.Refusal }

func (e *refusalError) Error() string { return e.Title }

// refuse answers in a page's place.
func (x *exchange) refuse(refusal *policy.Refusal) { x.fail(&refusalError{refusal}) }

// fail answers after an error.
func (x *exchange) fail(err error) {
	if timeout := x.settings.WriteTimeout; timeout > 0 {
		x.in.control.SetWriteDeadline(time.Now().Add(timeout))
	}
	x.in.setFields(x.in.w.Header())
	refusal := x.refusalFor(err)
	x.status = refusal.Status
	x.settle(endOf(refusal.Status, true))
	x.writeRefusal(refusal)
}

// refusalFor returns what answers a request after an error. A client that disconnected
// gets no answer: refusalFor panics with [http.ErrAbortHandler].
func (x *exchange) refusalFor(err error) policy.Refusal {
	cause := x.why()
	var refusal *refusalError
	switch fault := x.in.body.fault(); {
	case errors.As(err, &refusal):
		return *refusal.Refusal
	case fault != nil: // before it is taken for a disconnect
		return policy.Refusal{Status: fault.Status, Title: http.StatusText(fault.Status), Detail: fault.Reason}
	case cause == errSlowClient:
		return policy.Refusal{Status: http.StatusRequestTimeout, Title: "Request timeout", Detail: "The client stopped sending the request body, or sent it too slowly."}
	case err == errTooLarge, cause == errTooLarge:
		return policy.BodyTooLarge
	case cause == errSlowWorker:
		return policy.Refusal{Status: http.StatusGatewayTimeout, Title: "Gateway timeout", Detail: "The page did not respond in time."}
	case cause != nil, x.in.body.broken() && errors.Is(err, io.ErrUnexpectedEOF):
		panic(http.ErrAbortHandler)
	case x.in.body.broken():
		return policy.Refusal{Status: http.StatusBadRequest, Title: "Bad request", Detail: "The request body could not be read."}
	}
	return policy.Refusal{Status: http.StatusBadGateway, Title: "Bad gateway", Detail: "The page exited before it responded, or its response could not be read."}
}

// writeRefusal writes a refusal in the form that the client prefers. Outside
// development it says nothing that the world should not know.
func (x *exchange) writeRefusal(refusal policy.Refusal) {
	h := x.in.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if !refusal.RetryAt.IsZero() {
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(time.Until(refusal.RetryAt).Seconds())))))
	}
	maps.Copy(h, refusal.Header)
	form := preferredForm(strings.Join(x.in.Request.Header.Values("Accept"), ","))
	body, explained := "", false
	if x.develop != nil && x.develop.Explain != nil {
		refused := Refused{Route: x.in.Route, Status: refusal.Status, Form: form, RequestID: h.Get("X-Request-Id"), Began: x.started}
		if x.relay.backend != nil {
			refused.Worker = x.relay.backend.pid
		}
		body, explained = x.develop.Explain(x.in.Request.Context(), refused)
	}
	if !explained {
		body = render(refusal, form, h.Get("X-Request-Id"))
	}
	if form != "application/problem+json" { // which knows no charset (RFC 8259 section 8.1)
		form += "; charset=utf-8"
	}
	h.Set("Content-Type", form)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.in.w.WriteHeader(refusal.Status)
	if x.in.Request.Method != http.MethodHead {
		io.WriteString(x.in.w, body)
	}
}

// render returns the body of a refusal in a form.
func render(refusal policy.Refusal, form, id string) string {
	var body strings.Builder
	switch form {
	case "text/html":
		refusalPage.Execute(&body, struct {
			policy.Refusal
			ID string
		}{refusal, id})
	case "application/problem+json":
		problem := map[string]any{"type": "about:blank", "title": refusal.Title, "status": refusal.Status, "request_id": id} // RFC 9457
		if refusal.Detail != "" {
			problem["detail"] = refusal.Detail
		}
		json.NewEncoder(&body).Encode(problem)
	default:
		fmt.Fprintf(&body, "%d %s\n", refusal.Status, refusal.Title)
		if refusal.Detail != "" {
			fmt.Fprintln(&body, refusal.Detail)
		}
	}
	return body.String()
}

// forms are the forms of a refusal, by the media range that accepts them (RFC 9110
// section 12.5.1).
var forms = map[string]string{
	"text/html": "text/html", "application/xhtml+xml": "text/html",
	"application/json": "application/problem+json", "application/problem+json": "application/problem+json", "application/*": "application/problem+json",
}

// preferredForm returns the form of highest weight, the first among equals, and text if
// the client accepts anything.
func preferredForm(accept string) string {
	best, weight := "text/plain", 0.0
	for part := range strings.SplitSeq(accept, ",") {
		media, params, _ := strings.Cut(part, ";")
		q := 1.0
		for param := range strings.SplitSeq(strings.ToLower(params), ";") {
			if value, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
				q, _ = strconv.ParseFloat(value, 64)
			}
		}
		form, ok := forms[strings.ToLower(strings.TrimSpace(media))]
		if !ok {
			form = "text/plain"
		}
		if q > weight {
			best, weight = form, q
		}
	}
	return best
}

var refusalPage = template.Must(template.New("refusal").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Status}} {{.Title}}</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem }
b { font-size: .9rem; opacity: .6; letter-spacing: .06em }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .2rem 0 .8rem }
small { opacity: .55; overflow-wrap: anywhere }
</style>
<b>{{.Status}}</b>
<h1>{{.Title}}</h1>
{{with .Detail}}<p>{{.}}</p>
{{end}}<small>Request {{.ID}}</small>
`))
