GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

CADDY       ?= v2.11.9
BENCHTOOLS  ?= $(HOME)/.cache/tqserver-bench

DURATION    ?= 10m
SEED        ?= 1

.PHONY: help run build test bare chaos race lint e2e bench pgo figures figures-http figures-browser fuzz screens clean tmux chromium benchtools

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## start the server on the sample pages, http://localhost:8080
	bin/tqserver

build: ## build bin/tqserver
	$(GO) build -o bin/tqserver ./cmd/tqserver

test: tmux ## run all tests, and break the server on purpose, 4 minutes
	$(GO) test ./...
	$(GO) run ./internal/tools/chaos -short -seed $(SEED)

bare: ## run make run and all tests on a bare Debian: no C compiler
	.ci/bare

chaos: tmux ## break the server on purpose, faults at random for DURATION (10m) by SEED; an hour; write docs/reliability.md
	$(GO) run ./internal/tools/chaos -for $(DURATION) -seed $(SEED) -write docs/reliability.md

race: tmux ## run all tests under the race detector
	$(GO) test -race ./...

lint: ## gofmt, vet for Linux and macOS, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

e2e: chromium ## run the tests that need a browser
	cd e2e && $(GO) vet ./... && $(GO) test -count=1 ./...

bench: benchtools ## measure against go build, nginx, Caddy and ReverseProxy, 17 minutes; write docs/performance.md
	$(GO) run ./internal/tools/bench -caddy $(BENCHTOOLS)/caddy-$(CADDY)

pgo: benchtools ## record what the server does under load, for the compiler: cmd/tqserver/default.pgo
	$(GO) run ./internal/tools/bench -profile cmd/tqserver/default.pgo

figures: tmux ## measure start, reload, a flood of lines and an idle screen, 4 minutes
	@mkdir -p bin
	@$(GO) test ./cmd/tqserver -run 'TestFigures$$' -figures -v -parallel 1 -timeout 20m >bin/figures.log 2>&1; status=$$?; \
		grep -E "^ +[a-z0-9 :]+.*(median|frame|second|idle|FAIL|PASS)" bin/figures.log; \
		[ $$status = 0 ] || echo "bin/figures.log says what failed"; exit $$status

figures-http: ## measure crowds, huge bodies, clients that leave, too few connections, 4 minutes
	@mkdir -p bin
	@$(GO) test ./cmd/tqserver -run TestFiguresHTTP -figures -v -parallel 1 -timeout 20m >bin/figures-http.log 2>&1; status=$$?; \
		sed -nE 's/^ +figure  //p' bin/figures-http.log; \
		[ $$status = 0 ] || echo "bin/figures-http.log says what failed"; exit $$status

figures-browser: chromium ## measure from a save to the text in a tab, and what the script costs, half a minute; draw the pictures of docs/development.md
	@cd e2e && $(GO) test -count=1 -v -run 'Save|Costs|Corner|Pictures' . -args -screens | sed -nE 's/.* figure  //p; /^(---|FAIL)/p'

fuzz: ## fuzz what parses outside input, half a minute each
	$(GO) test -fuzz FuzzParse -fuzztime 30s -fuzzminimizetime 10x ./internal/config
	$(GO) test -fuzz FuzzMatchAgreesWithTheRule -fuzztime 30s ./internal/router
	$(GO) test -fuzz FuzzPrintable -fuzztime 30s ./internal/state
	$(GO) test -fuzz FuzzReadLines -fuzztime 30s ./internal/process
	$(GO) test -fuzz FuzzFramesAreFollowedInAnyPieces -fuzztime 30s ./internal/proxy
	$(GO) test -fuzz FuzzResolve -fuzztime 30s ./internal/proxy
	$(GO) test -fuzz FuzzResponsesAreThoseOfTransport -fuzztime 30s ./internal/upstream
	$(GO) test -fuzz FuzzParseHead -fuzztime 30s ./internal/wire
	$(GO) test -fuzz FuzzChunks -fuzztime 30s ./internal/message
	$(GO) test -fuzz FuzzAReaderOverJSON -fuzztime 30s ./internal/state
	$(GO) test -fuzz FuzzPieces -fuzztime 30s ./internal/wire
	$(GO) test -fuzz FuzzTheClientIsThePeerOrStandsInTheHeader -fuzztime 30s ./internal/proxy
	$(GO) test -fuzz FuzzTrace -fuzztime 30s ./internal/proxy
	$(GO) test -fuzz FuzzAPathLeadsNowhereElse -fuzztime 30s ./internal/static
	$(GO) test -fuzz FuzzATagIsAddedAndNothingElse -fuzztime 30s ./internal/live
	$(GO) test -fuzz FuzzLine -fuzztime 30s ./internal/accesslog
	$(GO) test -fuzz FuzzMask -fuzztime 30s ./internal/secret
	$(GO) test -fuzz FuzzScreen -fuzztime 30s ./tui

# What make bench compares with: nginx and wrk of the system, Caddy from its module.
benchtools:
	@command -v nginx >/dev/null && command -v wrk >/dev/null || { \
		SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
		if command -v apt-get >/dev/null; then $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq --no-install-recommends nginx-light wrk >/dev/null; \
		elif command -v dnf >/dev/null; then $$SUDO dnf install -y -q nginx wrk; fi; \
		command -v nginx >/dev/null && command -v wrk >/dev/null || { echo "install nginx and wrk: the benchmarks compare with the one by the other"; exit 1; }; \
	}
	@[ -x $(BENCHTOOLS)/caddy-$(CADDY) ] || { \
		GOBIN=$(BENCHTOOLS) $(GO) install github.com/caddyserver/caddy/v2/cmd/caddy@$(CADDY) && mv $(BENCHTOOLS)/caddy $(BENCHTOOLS)/caddy-$(CADDY); \
	}

# The tests in a browser need one, which is Chromium.
chromium:
	@command -v chromium >/dev/null || { \
		SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
		if command -v apt-get >/dev/null; then $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq chromium >/dev/null; \
		elif command -v dnf >/dev/null; then $$SUDO dnf install -y -q chromium; fi; \
		command -v chromium >/dev/null || { echo "install chromium: the tests in a browser need it"; exit 1; }; \
	}

# The tests of the screen need a terminal, which is tmux.
tmux:
	@command -v tmux >/dev/null || { \
		SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
		if command -v apt-get >/dev/null; then $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq tmux; \
		elif command -v dnf >/dev/null; then $$SUDO dnf install -y -q tmux; \
		elif command -v brew >/dev/null; then brew install -q tmux; fi; \
		command -v tmux >/dev/null; \
	} || { echo "The tests of the screen need tmux: install it, with the package manager of your system, and try again."; exit 1; }

screens: tmux ## draw the screens of docs/terminal.md and the README from the real program
	$(GO) run ./internal/tools/screens

clean: ## remove what make made
	rm -rf bin
