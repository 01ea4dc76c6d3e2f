# Tenon: CNI plugins. `make` alone lists what there is.
BUN := node_modules/.bin/bun
DENO := node_modules/.bin/deno
PREFIX ?= /opt/cni
BINDIR ?= /usr/bin
DESTDIR ?=
PLUGINS := $(basename $(notdir $(wildcard plugins/*.ts)))
SOURCES := $(shell find plugins lib wasm scripts cli -name '*.ts' 2>/dev/null) package.json

.PHONY: help demo test soak check bench wasm build standalone cross docs fmt install uninstall clean packages

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: packages build ## two pods in throw-away namespaces: attached, pinged, detached (root)
	@scripts/demo.sh

test: packages build ## everything, with reduced counts: what CI runs (root)
	@$(MAKE) --no-print-directory check
	@$(BUN) scripts/test.ts

soak: packages build ## the same with full counts (root)
	@TENON_SOAK=1 $(BUN) scripts/test.ts

check: node_modules wasm build/plugins.ts ## types, lint, import rules, a test file for each source file
	@node_modules/.bin/tsc -p .
	@node_modules/.bin/biome check --error-on-warnings --log-level=warn .
	@$(BUN) scripts/check.ts
	@$(BUN) scripts/docs.ts --check

test-%: packages build ## the tests whose path holds NAME: make test-bridge
	@$(BUN) scripts/test.ts $*

bench: packages build ## beside the reference plugins and the kernel floor; writes docs/benchmarks.md (root)
	@$(BUN) bench/run.ts --write

wasm: build/wasm/bitmap.ts ## the address allocator

build/wasm/bitmap.ts: $(wildcard wasm/*.ts) scripts/wasm.ts node_modules
	@$(BUN) scripts/wasm.ts

build: build/bin/tenon-cni build/tenon ## build/bin: one executable and a link for each plugin; build/tenon

build/bin/tenon-cni: $(SOURCES) build/wasm/bitmap.ts node_modules
	@$(BUN) scripts/build.ts

build/tenon: $(SOURCES) build/wasm/bitmap.ts node_modules
	@$(BUN) scripts/build.ts --command build/tenon

build/plugins.ts: $(wildcard plugins/*.ts) scripts/build.ts node_modules
	@$(BUN) scripts/build.ts --registry

standalone: wasm ## one plugin alone: make standalone PLUGIN=bridge
	@$(BUN) scripts/build.ts --standalone $(PLUGIN) --out build/standalone

cross: wasm ## build/cross: the image for arm64, musl and older x86-64 machines
	@$(BUN) scripts/cross.ts

docs: node_modules wasm ## docs/plugins, docs/schemas: from the plugins' tables
	@$(BUN) scripts/docs.ts

fmt: node_modules ## format the sources
	@node_modules/.bin/biome check --write .

install: build ## plugins into $(DESTDIR)$(PREFIX)/bin, by default /opt/cni/bin; tenon into $(DESTDIR)$(BINDIR), /usr/bin
	@scripts/install.sh build/bin "$(DESTDIR)$(PREFIX)/bin"
	@scripts/install.sh --command build/tenon "$(DESTDIR)$(BINDIR)"

uninstall: ## take the installed executables away
	@scripts/install.sh --remove build/bin "$(DESTDIR)$(PREFIX)/bin"
	@scripts/install.sh --remove --command build/tenon "$(DESTDIR)$(BINDIR)"

clean: ## remove everything that was built or fetched
	rm -rf build node_modules

packages: node_modules
	@scripts/packages.sh

# Not `npm ci`: it wants every optional platform package in the lock file, and mirrors lack some.
node_modules: package.json package-lock.json
	@npm install --no-audit --no-fund --loglevel=error
	@touch node_modules
