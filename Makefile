SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Every directory with a go.mod; the tools are pinned in one that has nothing to test.
MODULES := $(sort $(patsubst %/,%,$(dir $(shell find . \( -name testdata -o -name '.?*' \) -prune -o -name go.mod -print))))
NESTED := $(filter-out .,$(MODULES))
TESTED := $(filter-out ./internal/tools,$(MODULES))

# Tools are named after their version and the toolchain: a change of either builds them anew.
TOOLS_MOD := internal/tools/go.mod
GOVERSION := $(shell go env GOVERSION)
version = $(shell sed -n 's|^[[:space:]]*$(1) \(v[^ ]*\).*|\1|p' $(TOOLS_MOD))
GOFUMPT := $(CURDIR)/.bin/gofumpt-$(call version,mvdan.cc/gofumpt)-$(GOVERSION)
GOLANGCI := $(CURDIR)/.bin/golangci-lint-$(call version,github.com/golangci/golangci-lint/v2)-$(GOVERSION)

PLATFORMS := windows/amd64 darwin/arm64 linux/arm64

# Real servers that tests need, started on loopback by internal/services/with. One whose WEAVER_TEST_ variable is set is used as it is.
SERVICES := kafka kcat registry postgres mysql
WITH := internal/services/with $(SERVICES) --

FUZZTIME ?= 30s
FUZZ ?= ^Fuzz
RUN ?= .
PAIRS ?= 21

# each runs a command in every module of a list, naming it; the first failure ends the target.
define each
for m in $(1); do \
	echo "== $$m: $(2)"; \
	(cd "$$m" && $(2)) || exit 1; \
done
endef

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: test
test: need-cc ## Test all modules with -race, against real servers that it starts (WEAVER_TEST_SEED=n repeats a run)
	@$(WITH) $(MAKE) test-with-services

.PHONY: test-with-services
test-with-services:
	@if [ -n "$${WEAVER_TEST_SEED:-}" ]; then echo "WEAVER_TEST_SEED=$$WEAVER_TEST_SEED"; fi
	@$(call each,$(TESTED),go test -race -count=1 -timeout 20m ./...)

.PHONY: proof
proof: need-cc ## Run the property and crash tests at full length, and see mutants of the engine caught (up to an hour)
	@$(WITH) $(MAKE) proof-with-services

.PHONY: proof-with-services
proof-with-services:
	@if [ -n "$${WEAVER_TEST_SEED:-}" ]; then echo "WEAVER_TEST_SEED=$$WEAVER_TEST_SEED"; fi
	@$(call each,$(TESTED),WEAVER_PROOF=1 go test -race -count=1 -run 'Proof|Property|Crash' -timeout 60m ./...)
	go run ./internal/mutants

.PHONY: fuzz
fuzz: ## Run every fuzz target (FUZZTIME=30s each; FUZZ=regexp selects)
	@for m in $(TESTED); do \
		listed=$$(cd "$$m" && go test -list '$(FUZZ)' ./...) || { echo "$$listed"; exit 1; }; \
		targets=$$(awk '/^Fuzz/ { names[n++] = $$1; next } $$1 == "ok" { for (i = 0; i < n; i++) print $$2 " " names[i]; n = 0 }' <<<"$$listed"); \
		while read -r pkg name; do \
			[ -n "$$pkg" ] || continue; \
			echo "== $$pkg $$name"; \
			(cd "$$m" && go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$pkg" </dev/null) || exit 1; \
		done <<<"$$targets"; \
	done

.PHONY: bench
bench: ## Compare the engine with hand-written code (RUN=regexp selects, PAIRS=21)
	@$(WITH) bash -c 'cd internal/bench && go run . -run "$$0" -pairs $(PAIRS)' '$(RUN)'

.PHONY: cover
cover: ## Measure the root module's coverage, by function, into cover.out
	@go test -count=1 -timeout 20m -coverprofile=cover.out -coverpkg=./... ./...
	@go tool cover -func=cover.out | tail -n 1
	@echo "go tool cover -html=cover.out shows it line by line"

.PHONY: lint
lint: $(GOFUMPT) $(GOLANGCI) ## Check formatting, vet, linters and go.mod files
	@files=$$($(GOFUMPT) -l .); if [ -n "$$files" ]; then echo "not formatted (make fmt mends it):"; echo "$$files"; exit 1; fi
	@$(call each,$(TESTED),go vet ./...)
	@$(call each,$(TESTED),$(GOLANGCI) run ./...)
	@$(call each,$(MODULES),go mod tidy -diff)

.PHONY: fmt
fmt: $(GOLANGCI) ## Format with gofumpt and goimports
	@$(call each,$(TESTED),$(GOLANGCI) fmt ./...)

.PHONY: tidy
tidy: ## Tidy all go.mod files
	@$(call each,$(MODULES),go mod tidy)

.PHONY: build-all
build-all: ## Build and vet for the other platforms, vet the nested modules
	@for p in $(PLATFORMS); do \
		echo "== $$p"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 go build ./... || exit 1; \
		GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 go vet ./... || exit 1; \
	done
	@$(call each,$(filter-out ./internal/tools,$(NESTED)),go vet ./...)

.PHONY: tools
tools: $(GOFUMPT) $(GOLANGCI)

.PHONY: need-cc
need-cc:
	@if [ "$$(go env CGO_ENABLED)" != 1 ] || ! command -v $(firstword $(shell go env CC)) >/dev/null; then \
		echo "The race detector needs cgo and a C compiler, and $(firstword $(shell go env CC)) is missing or cgo is off: install gcc or clang, set CC or CGO_ENABLED=1, or test without it (go test ./...)." >&2; \
		exit 1; \
	fi

$(GOFUMPT):
	@echo "== building $(notdir $@)"
	@cd internal/tools && go build -trimpath -o $@ mvdan.cc/gofumpt

$(GOLANGCI):
	@echo "== building $(notdir $@) (a minute or two, once)"
	@cd internal/tools && go build -trimpath -ldflags='-s -w' -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
