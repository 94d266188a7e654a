// Package weavertest helps to test what is built on weaver.
package weavertest
