# make help lists the targets. The environment is made on first use in .venv and made again when
# a file of requirements changes; VENV=/path uses another environment as it is.

VENV ?= .venv
WHEELS ?= _build
BIN := $(VENV)/bin
PYTHON3 ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	command -v $(name) >/dev/null && $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $(name))))

ifeq ($(VENV),.venv)
READY := .venv/.ready
endif

.PHONY: help book site pdf wheel test lab bench gpu notebooks preview course course-test environment clean
.DEFAULT_GOAL := help

help:
	@echo "make book        execute what changed, build the pages, print where they are"
	@echo "make book CHAPTERS=\"7 10\"   the same, but execute these chapters only"
	@echo "make site        the pages in _build/site, for any web server"
	@echo "make pdf         the book as one PDF (needs Chromium); with CHAPTERS=\"7 10\" these only"
	@echo "make wheel       the package with its trained networks as one file"
	@echo "make test        everything that must hold before a change is handed in"
	@echo "make lab         open the chapters in Jupyter Lab (copies in _build/lab, yours to change)"
	@echo "make lab SOLUTIONS=1   the same with the solutions, in _build/lab-solutions"
	@echo "make bench       time the estimator against other implementations"
	@echo "make gpu         check and time the package on a GPU, 8 minutes; without one, say so"
	@echo "make notebooks   number the chapters as in _toc.yml; the notebooks' stored form; book/numbers.json"
	@echo "make preview NOTEBOOK=notebooks/<part>/<chapter>.ipynb   one chapter, quickly"
	@echo "make course      the notebooks for a class, without and with solutions, in _build/course"
	@echo "make course-test the same, and execute both copies (minutes)"
	@echo "make clean       remove _build (the environment stays in $(VENV))"

book: environment
	$(BIN)/python book/scripts/build_book.py --unless-built
	$(BIN)/python book/scripts/execute_notebooks.py $(CHAPTERS)
	$(BIN)/python book/scripts/build_book.py

site: environment
	$(BIN)/python book/scripts/make_site.py

pdf: environment
	$(BIN)/python book/scripts/make_pdf.py $(CHAPTERS)

wheel: environment
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(WHEELS) .

test: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist loadfile
	$(BIN)/python book/scripts/execute_notebooks.py
	$(BIN)/python book/scripts/build_book.py --strict
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "book or fresh_environment"

lab: environment
	$(BIN)/python book/scripts/open_lab.py $(if $(SOLUTIONS),--solutions)

bench: environment
	$(BIN)/python benchmarks/run.py

gpu: environment
	PYTHONPATH=.:tests $(BIN)/python benchmarks/gpu.py

notebooks: environment
	$(BIN)/python book/scripts/renumber_chapters.py
	$(BIN)/python book/scripts/sync_notebooks.py
	$(BIN)/ruff format notebooks
	$(BIN)/python book/scripts/stored_numbers.py

preview: environment
	$(BIN)/python book/scripts/preview_chapter.py $(NOTEBOOK)

course: wheel
	$(BIN)/python book/scripts/execute_notebooks.py
	$(BIN)/python book/scripts/make_course.py

course-test: wheel
	$(BIN)/python book/scripts/execute_notebooks.py
	$(BIN)/python book/scripts/make_course.py --execute

environment: $(READY)

.venv/.ready: requirements.txt requirements-no-deps.txt
	@test -n "$(PYTHON3)" || { echo "Python 3.11 or newer was not found" >&2; exit 1; }
	rm -rf .venv
	$(PYTHON3) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.txt
	.venv/bin/python -m pip install --quiet --no-deps --requirement requirements-no-deps.txt
	.venv/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf _build
