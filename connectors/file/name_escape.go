package file

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// What a record says becomes one element of a path, or a part of one, whatever it says:
//
//   - Letters, digits and _ = + @ of ASCII stand for themselves, and so do - and . where they can't be taken for something else. Any other byte is % and two digits.
//   - Nothing at all is %empty, and a field that is null or missing is %null.
//   - Where there is no room for all of it, it ends with %~ and 32 digits of its SHA-256.
//   - An element that Windows takes for a device, such as CON, has its first letter escaped.
//
// So no two values look the same, and no value is a way out of the folder, a hidden file, an option of a command, or a pattern of a shell.
const (
	emptyValue = "%empty"
	nullValue  = "%null"
	cutMark    = "%~"
	cutBytes   = len(cutMark) + 32
	upperHex   = "0123456789ABCDEF"
)

// plainBytes are those that stand for themselves.
var plainBytes = func() (plain [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=+@-." {
		plain[c] = true
	}
	return plain
}()

// appendEscaped appends value as at most limit bytes.
func appendEscaped[S string | []byte](dst []byte, value S, limit int) []byte {
	if len(value) == 0 {
		return append(dst, emptyValue...)
	}
	begin, fits := len(dst), len(dst) // fits is how far it goes if it has to be cut
	for i := range len(value) {
		c := value[i]
		edge := i == 0 && (c == '.' || c == '-') || i == len(value)-1 && c == '.'
		if plainBytes[c] && !edge {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
		if len(dst)-begin <= limit-cutBytes {
			fits = len(dst)
		}
		if len(dst)-begin > limit {
			sum := sha256.Sum256([]byte(value))
			dst = append(dst[:fits], cutMark...)
			return hex.AppendEncode(dst, sum[:16])
		}
	}
	return dst
}

// isDevice reports whether Windows may take an element for a device: what is before its first dot counts.
func isDevice(element []byte) bool {
	for i, c := range element {
		if c == '.' {
			element = element[:i]
			break
		}
	}
	if n := len(element); n < 3 || n > len("CONOUT$") {
		return false
	}
	name := strings.TrimRight(string(element), " ") // short, so that it is no allocation
	for _, device := range devices {
		if strings.EqualFold(name, device) {
			return true
		}
	}
	if len(name) < 4 || !strings.EqualFold(name[:3], "COM") && !strings.EqualFold(name[:3], "LPT") {
		return false
	}
	switch number := name[3:]; number {
	case "¹", "²", "³":
		return true
	default:
		return len(number) == 1 && number[0] >= '0' && number[0] <= '9'
	}
}

// devices are those without a number.
var devices = [...]string{"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}

// escapeFirst escapes the first byte of the element that begins there, for it would be more than a name.
func escapeFirst(dst []byte, begin int) []byte {
	c := dst[begin]
	dst = append(dst, 0, 0)
	copy(dst[begin+3:], dst[begin+1:])
	dst[begin], dst[begin+1], dst[begin+2] = '%', upperHex[c>>4], upperHex[c&15]
	return dst
}
