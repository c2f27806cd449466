# make run    build, and serve the development mode
# make test   install what the tests need from Debian, then run every test
# make check  formatting, vet, staticcheck, known vulnerabilities
# make soak   ten years of key rollovers in SEEDS random worlds; for a night
# make bench  Go benchmarks, for benchstat; at 1x part of make test
# make fuzz   every fuzz target for FUZZTIME; part of make test
# make bench-peers    measure mxseal beside other servers, as root; see bench/README.md
.PHONY: run build test check packages fuzz soak bench bench-peers clean

FUZZTIME ?= 10s

run: build
	./build/mxseal serve --dev $(ARGS)

build:
	go build -trimpath -o build/mxseal ./cmd/mxseal

# What counts allocations, and the model of key rollovers, which is one goroutine, run without the race detector.
test: packages
	go test -race -timeout 30m ./...
	go test -race -tags pkcs11 ./keymgmt/hsm
	go test -tags nextformat ./store ./store/bolt
	go test -run '^(TestAllocations|TestTenYears|TestEveryRuleIsNeeded)' -timeout 30m ./...
	go test -run '^$$' -bench . -benchtime 1x ./...
	$(MAKE) --no-print-directory fuzz

packages:
	./e2e/install-packages

# Go runs one fuzz target of one package at a time. Without the bound on minimising it may still be at that when the time is
# up, and call it a failure.
fuzz:
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "fuzz $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x -timeout 10m $$pkg; \
		done; \
	done

SEEDS ?= 500

soak:
	MXSEAL_SEEDS=$(SEEDS) go test -run '^TestTenYears$$' -timeout 24h ./keymgmt

bench:
	go test -run '^$$' -bench . -benchmem -count 6 ./...

bench-peers:
	go run ./bench/peers $(ARGS)

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags pkcs11 ./keymgmt/hsm ./cmd/mxseal
	go vet -tags nextformat ./store
	go tool staticcheck ./...
	@go tool govulncheck ./...; case $$? in \
		0) ;; \
		3) exit 1 ;; \
		*) echo "govulncheck could not ask the vulnerability database; known vulnerabilities were not looked for" ;; \
	esac

clean:
	rm -rf build mxseal-dev
