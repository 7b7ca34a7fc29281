# make demo   thirty simulated days through Dagster, from a fresh clone
# make up     the Dagster UI and the MLflow UI on the same data
# make stream-demo   transactions screened live in the terminal
# make spark-demo    seven days of 100,000 payments on Spark, on this machine
# make test   lint, types and tests; make lint and make types alone take seconds
# make slow   the tests that take longest: kills, servers, whole days in several ways
# make thorough   all tests, with all random examples
# make docs, make bench and make screenshots: see CONTRIBUTING.md
#
# requirements.txt is the whole resolution for every supported Python, so pip has nothing left to resolve (--no-deps).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo stream-demo spark-demo up test slow thorough lint types docs audit bench screenshots install clean pin

install: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "fraud_pipelines needs Python 3.11 to 3.13, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || \
		{ echo "Could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing the pinned dependencies into $(VENV) (about 1.3 GB, a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --use-pep517 --require-hashes \
		-r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "Compiling (half a minute) ..."
	@$(BIN)/fraud-pipelines compile
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/fraud-pipelines demo

stream-demo: $(STAMP)
	@$(BIN)/fraud-pipelines stream-demo

# Spark's own page is at http://127.0.0.1:4040 while a day is computed.
spark-demo: $(VENV)/.spark
	@SPARK_LOCAL_IP=127.0.0.1 FRAUD_ENGINE=spark FRAUD_SHARDS=4 $(BIN)/fraud-pipelines demo --fresh \
		--days 7 --users 20000 --transactions-per-day 100000

$(VENV)/.spark: requirements-spark.txt $(STAMP)
	@java -version >/dev/null 2>&1 || \
		{ echo "Spark needs Java 17 or newer. On Debian and Ubuntu: apt-get install openjdk-17-jre-headless"; exit 1; }
	@echo "Installing PySpark into $(VENV) (500 MB) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --use-pep517 --require-hashes \
		-r requirements-spark.txt
	@touch $@

up: $(STAMP)
	@exec $(BIN)/fraud-pipelines up

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

test: lint types
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

thorough: $(STAMP)
	FRAUD_TEST_THOROUGH=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# The site, in build/site/: open build/site/index.html. A link that leads nowhere is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(VENV)/.docs: requirements-docs.txt $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-docs.txt
	@touch $@

# The README's pictures, from a demo that has run (make demo); needs Chromium.
screenshots: $(STAMP)
	$(BIN)/python -m tools.screenshots

# Whether every dependency is pinned with hashes and installed as pinned; known vulnerabilities, where there is a network.
audit: $(STAMP)
	$(BIN)/python -m tools.dependencies

# One of benchmarks/: make bench BENCH=features ARGUMENTS="--rows 1000000"
BENCH ?= streaming
bench: $(STAMP)
	$(BIN)/python benchmarks/$(BENCH).py $(ARGUMENTS)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# After a change of the dependencies: `pip install uv`, then this. The file carries hashes and no address.
pin:
	uv pip compile --universal --fork-strategy fewest --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --python-version 3.11 --extra dev --upgrade --quiet pyproject.toml -o requirements.txt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' | \
		uv pip compile --universal --fork-strategy fewest --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --python-version 3.11 --constraints requirements.txt --upgrade --quiet - -o requirements-docs.txt
	echo "pyspark>=4.1,<5" | uv pip compile --universal --fork-strategy fewest --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --python-version 3.11 --upgrade --quiet - -o requirements-spark.txt
