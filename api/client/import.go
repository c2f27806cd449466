package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/mxseal/mxseal/api"
)

const ndjson = "application/x-ndjson"

// Import sends lines of api.ImportLine and calls result for each line of the answer, in the order of the lines, as they are
// durable. It returns how many results there were: with an error, the lines after those may or may not have been done, and can
// be sent again.
func (c *Client) Import(ctx context.Context, lines io.Reader, result func(api.ImportResult) error) (results int, err error) {
	res, err := c.stream(ctx, http.MethodPost, path("tenants", "import"), lines)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	for in := json.NewDecoder(bufio.NewReaderSize(res.Body, 64<<10)); ; results++ {
		var r api.ImportResult
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			c.report(res.Trailer)
			return results, nil
		} else if err != nil {
			return results, fmt.Errorf("after %d lines: %w", results, err)
		}
		if err := result(r); err != nil {
			return results, err
		}
	}
}

// Export writes all tenants that are not revoked as lines of api.ImportLine.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	res, err := c.stream(ctx, http.MethodGet, path("tenants", "export"), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

// stream sends a request that may take as long as it takes.
func (c *Client) stream(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", ndjson)
	}
	return c.do(&http.Client{Transport: c.http.Transport}, req)
}
