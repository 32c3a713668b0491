package static

import (
	"io/fs"
	"strconv"
	"strings"
)

// encoding is an encoding in which a file may exist beside the original.
type encoding struct {
	token  string // in Content-Encoding
	suffix string // of the file name
}

// encodings lists the known encodings. Among equals the first is preferred.
var encodings = []encoding{{"br", ".br"}, {"gzip", ".gz"}}

// chooseEncoding switches to an encoded file if the client prefers it. A file older
// than the original does not count.
func (resp *response) chooseEncoding(accept string) {
	original := resp.info.ModTime()
	fits := func(info fs.FileInfo, err error) bool {
		return err == nil && info.Mode().IsRegular() && !info.ModTime().Before(original)
	}
	best, weight := (*encoding)(nil), acceptWeight(accept, "identity")
	for i := range encodings {
		e := &encodings[i]
		if !fits(resp.mount.folder.root.Stat(resp.name + e.suffix)) {
			continue
		}
		resp.hasEncoded = true
		if q := acceptWeight(accept, e.token); q > 0 && q >= weight && (best == nil || q > weight) {
			best, weight = e, q
		}
	}
	if best == nil {
		return
	}
	file, info, err := resp.mount.folder.open(resp.name + best.suffix)
	switch {
	case err != nil:
	case !fits(info, nil): // it was replaced meanwhile
		file.Close()
	default:
		resp.file.Close()
		resp.file, resp.info, resp.encoding = file, info, best
	}
}

// acceptWeight returns how much a client prefers an encoding, by its
// Accept-Encoding (RFC 9110 section 12.5.3). The original is accepted if nothing
// better is.
func acceptWeight(accept, token string) float64 {
	named, others := -1.0, -1.0
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case name == token, name == "x-gzip" && token == "gzip": // RFC 9110 section 8.4.1.3
			named = max(named, quality(params))
		case name == "*":
			others = max(others, quality(params))
		}
	}
	switch {
	case named >= 0:
		return named
	case token == "identity":
		return 0
	}
	return max(0, others)
}

// quality returns the weight among the parameters of an encoding: 1 without one, 0
// for an invalid one.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(param), "=")
		if !ok || !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
