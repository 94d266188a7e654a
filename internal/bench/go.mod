module github.com/bohica-labs/dataweaver/internal/bench

go 1.26.0

require (
	github.com/bohica-labs/dataweaver v0.0.0
	github.com/goccy/go-json v0.12.0
	github.com/klauspost/compress v1.20.3
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/fsnotify/fsnotify v1.10.1 // indirect
	github.com/jszwec/csvutil v1.10.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.22.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace github.com/bohica-labs/dataweaver => ../..
