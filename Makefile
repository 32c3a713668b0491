GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help run build test race lint fuzz clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## start the server on the sample pages, http://localhost:8080
	bin/tqserver

build: ## build bin/tqserver
	$(GO) build -o bin/tqserver ./cmd/tqserver

test: ## run all tests
	$(GO) test ./...

race: ## run all tests under the race detector
	$(GO) test -race ./...

lint: ## gofmt, vet for Linux and macOS, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

fuzz: ## fuzz what parses outside input, half a minute each
	$(GO) test -fuzz FuzzParse -fuzztime 30s -fuzzminimizetime 10x ./internal/config
	$(GO) test -fuzz FuzzMatchAgreesWithTheRule -fuzztime 30s ./internal/router
	$(GO) test -fuzz FuzzReadLines -fuzztime 30s ./internal/process

clean: ## remove what make made
	rm -rf bin
