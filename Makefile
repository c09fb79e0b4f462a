# Needs Python 3.11+, Node 20+ and make; everything else is made from the lock files.

.DEFAULT_GOAL := help
.PHONY: help up down clean demo prove chat test lint format bench routes openapi deploy lock \
	stage python python-environment environment

FOUND := $(shell for python in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)
RUN := .venv/bin/python -m
STAGE ?=

export PYTHONPATH := .:layers/kernel/python:layers/chatbot/python:layers/membership/python
export PYTHONUTF8 := 1

help: ## show what there is
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile

up: environment ## start the embedded cloud, deploy all stacks, seed demo tenants
	@$(RUN) local.up

down: python ## stop the embedded cloud; its data stays
	@$(FOUND) -m local.cloud stop

clean: python ## stop the embedded cloud and throw away its data and everything built
	@$(FOUND) -m local.cloud clean

demo: python-environment ## tours of the chatbot and of a shop's day over HTTP against the embedded cloud
	@$(RUN) local.demo

prove: python-environment ## recompute every card of the local stack from its entries and check every seal
	@$(RUN) local.prove

chat: python-environment ## talk to the demo bot in the terminal
	@$(RUN) local.chat

test: environment ## all checks: format, lint, types, tests, freshness of generated files, end-to-end tests
	@$(RUN) local.checks test

lint: python-environment ## format, lint and types only
	@$(RUN) local.checks lint

format: python-environment ## rewrite the sources in the project's format
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix .

bench: python-environment ## measure calls, segments, CSV files, broadcasts and payments
	@$(RUN) benchmarks

routes: python-environment ## print every operation with its route, sign-in and grants
	@$(RUN) infra.routes

openapi: python-environment ## write the OpenAPI documents anew
	@$(RUN) infra.openapi

deploy: stage environment ## deploy to AWS: make deploy STAGE=dev
	@node_modules/.bin/cdk deploy --all -c stage="$(STAGE)"

lock: python-environment ## pin the dependencies of pyproject.toml anew
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(RUN) uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --group runtime --group infra --group dev --output-file locks/dev.txt
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(RUN) uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --group runtime --constraint locks/dev.txt --output-file locks/runtime.txt

stage:
	@case "$(STAGE)" in \
		"") echo "make deploy STAGE=…: name the stage, such as dev" >&2; exit 1;; \
		local) echo "the stage local is the embedded cloud: make up" >&2; exit 1;; \
		*[!a-z0-9]*|[0-9]*) echo "STAGE=$(STAGE): lower-case letters and digits, a letter first" >&2; exit 1;; \
	esac

python:
	@test -n "$(FOUND)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=…" >&2; exit 1; }

python-environment: python
	@$(FOUND) -m local.environment python

environment: python
	@$(FOUND) -m local.environment python node
