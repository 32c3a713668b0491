package accesslog

// formats are the formats of lines by the name that access_log.format has for them.
// Each appends a request to b, without a newline. For another format add a line
// here, a file like json.go, and its name to access_log.format in internal/config.
var formats = map[string]func(b []byte, r *Record) []byte{
	"common":   appendCommon,
	"combined": appendCombined,
	"json":     appendJSON,
}

// appendLine appends a request as a line in a format.
func appendLine(b []byte, r *Record, format string) []byte {
	return append(formats[format](b, r), '\n')
}

const hexDigits = "0123456789abcdef"
