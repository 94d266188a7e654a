package tables

import "fmt"

// Brief quotes a name for an error, whatever it consists of.
func Brief(name string) string {
	const limit = 80
	if len(name) > limit {
		return fmt.Sprintf("%q…", name[:limit])
	}
	return fmt.Sprintf("%q", name)
}
