package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// maxFolderName keeps a folder's name well below what file systems allow (255 bytes, 143 on some that encrypt).
const maxFolderName = 128

// folderName returns the name of the folder for key: different for different keys also where upper and lower case are the same, and never one that means
// something to a system ("..", "con", a trailing dot). "key-" and the key with %xx for what is not plain, which [url.PathUnescape] turns back; for a long
// key "hash-" and its SHA-256.
func folderName(key string) string {
	var b strings.Builder
	b.WriteString("key-")
	for i := range len(key) {
		c := key[i]
		plain := 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' && i < len(key)-1
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
		if b.Len() > maxFolderName {
			sum := sha256.Sum256([]byte(key))
			return "hash-" + hex.EncodeToString(sum[:])
		}
	}
	return b.String()
}

// versionDigits is enough for any Version, so that names sort as numbers do.
const versionDigits = 20

func versionName(v Version) string { return fmt.Sprintf("%0*d", versionDigits, v) }

// parseVersion is the reverse of versionName. It is 0 for any other name.
func parseVersion(name string) Version {
	if len(name) != versionDigits || strings.Trim(name, "0123456789") != "" {
		return 0
	}
	v, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return 0
	}
	return Version(v)
}

const (
	tempInfix  = "-"
	tempSuffix = ".tmp"
)

// tempName returns a new name for a file that may become version v.
func tempName(v Version) string {
	return fmt.Sprintf("%s%s%016x%s", versionName(v), tempInfix, rand.Uint64(), tempSuffix)
}

// parseTemp returns the version that a name of tempName's was made for. It is 0 for any other name.
func parseTemp(name string) Version {
	rest, ok := strings.CutSuffix(name, tempSuffix)
	if !ok {
		return 0
	}
	version, _, ok := strings.Cut(rest, tempInfix)
	if !ok {
		return 0
	}
	return parseVersion(version)
}
