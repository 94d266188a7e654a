// Package file reads and writes files.
package file
