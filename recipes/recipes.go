// Package recipes holds the training specifications that come with Muster.
package recipes

import "embed"

// Files are the recipes by file name.
//
//go:embed *.yaml
var Files embed.FS
