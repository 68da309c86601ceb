# Everything runs from a fresh clone; what is missing is installed on Debian as root, and named elsewhere.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go
WEB := server/dashboard/web

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: demo
demo: ## see telemetry at work on this machine (Ctrl-C ends it)
	@.ci/deps build
	go run ./server/cmd/evergreen demo $(ARGS)

.PHONY: evergreen
evergreen: ## bin/evergreen, the server, with the module's source in it for the build service
	@.ci/deps build
	@trap 'rm -f server/build/embedded/evergreen.zip' EXIT; \
	go run server/build/embedsource.go server/build/embedded/evergreen.zip; \
	go build -trimpath -o bin/evergreen ./server/cmd/evergreen

.PHONY: test
test: ## all tests: check, then end to end, browser and crashes (about 50 minutes on two processors)
	@.ci/deps all
	$(MAKE) check e2e

.PHONY: check
check: ## format, vet, staticcheck, generated files, unit tests with -race
	@.ci/deps check
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'run gofmt -w on these files' >&2; exit 1; }
	go vet ./... ./server/...
	go vet -tags e2e,bench ./server/...
	go run $(STATICCHECK) -tags e2e,bench ./... ./server/...
	@.ci/clean-diff 'make generate' $(MAKE) --no-print-directory generate
	@.ci/clean-diff 'make tidy' $(MAKE) --no-print-directory tidy
	go test -race -timeout 15m ./... ./server/...

.PHONY: e2e
e2e: web ## real Caddys, a real server, a real browser, kill -9 (the short form)
	go test -count 1 -run TestMemoryUnderAttack .
	go test -count 1 -run 'TestFalseAlarms|TestPower' ./updater/watch
	go test -tags e2e -count 1 -timeout 50m -v ./server/... ./bridge/... -run 'TestE2E|TestBrowser' | grep --line-buffered -v -e '^testing: warning: no tests to run' -e 'no test files' -e 'no tests to run' -e '^PASS$$' | .ci/failures

.PHONY: chaos
chaos: ## 50 kills of the server and of Caddy under load, and of the server while it signs
	EVERGREEN_CHAOS=50 go test -tags e2e -count 1 -timeout 40m -v ./server/e2e -run TestE2EChaos
	EVERGREEN_CHAOS=50 go test -count 1 -timeout 20m -v ./server/artifact -run TestKill

.PHONY: bench
bench: ## the figures of docs/benchmarks.md, on this machine
	@.ci/deps all
	@.ci/bench

.PHONY: fuzz
fuzz: ## each fuzz test for 30 s (FUZZTIME=…)
	@.ci/fuzz $(or $(FUZZTIME),30s)

.PHONY: generate
generate: ## protobuf code, the dictionary's documentation
	GOWORK=off go build -o bin/protoc-gen-go $(PROTOC_GEN_GO)
	PATH="$$PWD/bin:$$PATH" go generate ./...

.PHONY: tidy
tidy: ## go.mod and go.sum of both modules
	GOWORK=off go mod tidy
	.ci/server-mod mod tidy

.PHONY: web
web: ## the pages' scripts, from TypeScript
	@.ci/deps all
	cd $(WEB) && npm ci --no-audit --no-fund && npm run build
	@git diff --exit-code --stat -- server/dashboard/assets server/render/dist || { echo 'the built assets differ from those checked in: commit what `make web` wrote' >&2; exit 1; }

.PHONY: vulncheck
vulncheck: ## known vulnerabilities, where the database can be had
	go run golang.org/x/vuln/cmd/govulncheck@v1.8.0 ./... ./server/...
