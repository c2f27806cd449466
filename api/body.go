package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// readBody reads a JSON request body into target, a pointer to a shape, or says what is wrong with it.
func readBody(w http.ResponseWriter, r *http.Request, optional bool, target any) error {
	if optional && r.ContentLength == 0 {
		return nil
	}
	if err := checkMediaType(r.Header.Values("Content-Type")); err != nil {
		return err
	}
	tooLarge := refuse(errTooLarge, "body", fmt.Sprintf("must have at most %d octets", maxBody))
	if r.ContentLength > maxBody {
		return tooLarge
	}
	if r.Header.Get("Content-Encoding") != "" {
		return refuse(errMediaType, "Content-Encoding", "must be absent: bodies are not compressed")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var overrun *http.MaxBytesError
	switch {
	case errors.As(err, &overrun):
		return tooLarge
	case err != nil:
		return refuse(errMalformed, "body", "could not be read to its end")
	}
	return decode(body, target)
}

// checkMediaType accepts application/json, alone or with charset=utf-8.
func checkMediaType(headers []string) error {
	if len(headers) == 1 {
		kind, params, err := mime.ParseMediaType(headers[0])
		charset, given := params["charset"]
		if err == nil && kind == "application/json" && (!given || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return refuse(errMediaType, "Content-Type", "must be application/json")
}
