//go:build tools

// The X-Ray daemon has no go.mod of its own; this module pins what it needs.
package tools

import _ "github.com/aws/aws-xray-daemon/daemon"
