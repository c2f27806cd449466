// Package api is the admin HTTP API: zones, pools, tenants with their domains, tokens, nodes and the backup, under
// /v1 (design §7). It turns requests into the planning functions of package zone and the rows of a [State]
// into JSON; it holds no state of its own. Package client beside it speaks to it with the same shapes.
//
// A request passes these gates in this order, and nothing happens before the last: number of requests at
// once, route, token, scope, query and conditional headers, content type, size, strict JSON, the plan.
// Whatever refuses, the answer is a [Problem].
package api
