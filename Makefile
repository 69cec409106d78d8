# Every target makes what it needs first: `make demo` and `make test` are all the set-up on a fresh machine.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
OUT ?= demo

.PHONY: demo test slow alone stale lab lab-all docs browser bench prepare outputs mutants teacher
.DEFAULT_GOAL := demo

# The stamp is written last, so an interrupted installation is not taken for a finished one.
.venv/ready: settings.ini setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@
.venv: .venv/ready ;

demo: .venv/ready  ## the whole story on generated data; results in $(OUT)
	$(BIN)/distil-nb demo --out $(OUT) --overwrite

test: .venv/ready  ## notebooks, then what a cell cannot test
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/nbdev-test --n-workers 2 --timing  # two notebooks at a time, a core each
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder  # two files at a time, the long ones not last

slow: .venv/ready  ## tests of further kinds, of language models, of hostile files, on several processes
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m slow

alone: .venv/ready  ## each notebook from the wheel, in an empty folder, without the repository
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m alone --durations 0

stale: .venv/ready  ## are the stored outputs those of the code? the fast cells are run again and compared
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/python tools/stale.py

lab: .venv/ready  ## JupyterLab on the chapters
	$(BIN)/jupyter lab --notebook-dir nbs

prepare: .venv/ready  ## export, clean, README, checks
	for f in benchmarks/*.json; do cp $$f distil_nb/records/bench-$$(basename $$f); done  # records travel with the package
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean
	$(BIN)/python tools/readme.py
	$(BIN)/pytest tests/test_project.py

outputs: .venv/ready  ## run every cell, slow ones too, and store what it shows; of one chapter with CHAPTER=09_architectures
	cd nbs && export DISTIL_NB_SLOW=1 DISTIL_NB_STORE=1; for n in $(or $(CHAPTER:=.ipynb),*.ipynb tutorials/*.ipynb); do \
	  ../$(BIN)/jupyter nbconvert --log-level ERROR --to notebook --execute --inplace --ExecutePreprocessor.timeout=3600 $$n || exit 1; done
	$(MAKE) prepare

docs: .venv/ready  ## the site, in _docs (needs Quarto)
	PYTHONPATH=tools $(BIN)/nbdev-docs

.browser/ready:  # outside git: axe-core looks for faults, MathJax sets formulas without a network
	$(BIN)/python -m pip install -q 'playwright>=1.50'
	npm install --silent --prefix .browser axe-core@4 mathjax@3
	touch $@

browser: .venv/ready .browser/ready  ## every page in headless Chromium (Debian: apt install chromium npm); BROWSER_SHOTS=DIR keeps pictures
	OMP_NUM_THREADS=1 $(BIN)/pytest -v tests/test_browser.py tests/test_lab.py

lab-all: .venv/ready .browser/ready  ## Run All of every notebook in JupyterLab, in headless Chromium (an hour)
	OMP_NUM_THREADS=1 LAB=all $(BIN)/pytest -v tests/test_lab.py

bench: .venv/ready  ## speed beside what a user would pick instead
	$(BIN)/python benchmarks/speed.py

mutants: .venv/ready  ## lines that carry an idea are changed one at a time: a test has to notice each
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py

teacher: .venv/ready  ## make the two small models of the package again: the sample's teacher (half an hour), then its student
	$(BIN)/python tools/sample_models.py teacher
	$(BIN)/python tools/sample_models.py student
