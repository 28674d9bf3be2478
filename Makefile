# Everything starts here, on a machine with python3 (3.11 or newer) and make; tools/uv brings the rest into this folder.
.DEFAULT_GOAL := help
.PHONY: messages django-tests message-tests sites help setup demo demo-live screenshots test lint matrix chaos fuzz migrations measure-replies bench profile docs site \
	compare soak recovery routes fleet servers build release-check clean

RUN := tools/uv run --locked --all-extras
# The demos need no tools of development: a newcomer waits for 40 MB, and not for 370. What else is installed stays.
RUN_DEMO := tools/uv run --locked --no-default-groups --extra cli --extra encryption --extra prometheus
PYTEST := $(RUN) python -m pytest
# Many tests wait for a server or a process more than they compute: more of them at once than there are processors.
SIDE_BY_SIDE := -n $(or $(WORKERS),4) --dist worksteal

help: ## what can be asked for
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

setup: ## the locked environment, in .venv
	tools/uv sync --locked --all-extras

demo: ## fifty messages through two simulated providers that misbehave, told live (ARGS="--plain")
	$(RUN_DEMO) python manage.py demo $(ARGS)

demo-live: ## the whole on localhost until Ctrl-C: providers, a worker, traffic, troubles, pages (ARGS="--calm --port 8080")
	$(RUN_DEMO) python -W ignore -m demo.live $(ARGS)

screenshots: ## pictures of the pages for the docs, taken of a running demo-live (Chromium; ARGS="--seconds 60")
	$(RUN) python -W ignore tools/screenshots.py $(ARGS)

test: ## the tests; those whose service is missing are skipped, with the reason (ARGS="tests/smtp -x", WORKERS=0 for one by one)
	$(RUN) tools/test $(SIDE_BY_SIDE) $(ARGS)

lint: ## style, types, directions of imports, templates, migrations
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports --no-logo
	@if find src demo -name '*.html' | grep -q .; then $(RUN) djlint --lint src demo; fi
	@$(MAKE) --no-print-directory migrations

fuzz: ## hostile bytes against the session and the reply parser, for a few minutes (EXAMPLES=20000)
	FUZZ_EXAMPLES=$(or $(EXAMPLES),20000) $(PYTEST) tests/fuzz $(ARGS)
	$(RUN) python -W ignore -m tests.fuzz.hostile_text

migrations: ## do the models and the migrations say the same?
	$(RUN) python -m django makemigrations --check --dry-run --settings tests.settings reliable_email

matrix: ## the tests on Python 3.11 with Django 5.2, 3.12 with 6.0, 3.13 and 3.14 with 6.1 (ARGS="-x"; PAIRS="3.11:52")
	tools/matrix $(ARGS)

django-tests: ## tests of Django itself with our doors in place (ARGS="queue mail"; PAIRS="3.13:61")
	tools/django-tests $(ARGS)

message-tests: ## CPython's test messages and generated ones, by Django's backend and by each door: what differs (ARGS="--count 200"; PAIRS="3.13:61")
	tools/message-tests $(ARGS)

sites: ## sites with allauth and DRF, with django-oscar and with Wagtail, moved in by the docs: does their mail arrive by each door? (ARGS="wagtail")
	tools/sites $(ARGS)

chaos: ## cut every connection at every byte, kill and suspend a worker at every step; prints what was lost (nothing)
	RELIABLE_EMAIL_THOROUGH=1 RELIABLE_EMAIL_CHAOS_STEP=$(or $(STEP),1) $(PYTEST) -q -s tests/chaos $(ARGS)

measure-replies: ## how well replies are understood: make measure-replies FILE=replies.tsv
	$(RUN) python tools/measure_replies.py $(FILE)

bench: ## how fast, beside the clients and queues that sites use (bench/README.md; ARGS="--quick", ARGS="wire content")
	tools/uv venv --quiet --allow-existing .venvs/compare
	tools/uv pip install --quiet --python .venvs/compare -r bench/speed/requirements.txt -e '.[postgres,encryption]'
	@if command -v npm >/dev/null && [ ! -d tests/servers/node/node_modules ]; then npm ci --silent --prefix tests/servers/node || true; fi
	.venvs/compare/bin/python -W ignore -m bench.speed $(ARGS)

profile: ## where the time of enqueue, drain and send goes, as trees in var/profile (ARGS="drain")
	$(RUN) python -W ignore -m bench.speed.profile $(ARGS)

messages: ## the pages' texts for translators, and what they wrote, compiled (needs gettext; tests/views/test_languages.py judges it)
	$(RUN) python -W ignore tools/page_texts.py
	cd src/reliable_email && ../../tools/uv run --locked --all-extras python -m django makemessages --all --add-location file --no-wrap --no-obsolete --settings tests.settings --pythonpath ../.. ; \
	result=$$? ; rm -f texts_of_findings_and_causes.py ; exit $$result
	cd src/reliable_email && for one in locale/*/LC_MESSAGES/django.po; do msgfmt -o "$${one%.po}.mo" "$$one"; done

docs: ## the pages that are written by the code: docs/reference, troubleshooting.md, failover.md and deliverability.md
	$(RUN) python -W ignore tools/write_troubleshooting.py
	$(RUN) python -W ignore tools/write_failover.py
	$(RUN) python -W ignore tools/write_deliverability.py
	$(RUN) python -W ignore tools/write_reference.py

site: ## the documentation as web pages, in var/site; each page's Markdown beside it, for programs that read llms.txt
	$(RUN) zensical build --strict
	cd docs && find . -name '*.md' -exec cp --parents {} ../var/site ';'

compare: ## what three mail queues make of the same misfortunes, as a table (docs/comparison.md)
	tools/uv venv --quiet --allow-existing .venvs/compare
	tools/uv pip install --quiet --python .venvs/compare -r bench/compare/requirements.txt -e .
	.venvs/compare/bin/python -m bench.compare $(ARGS)

soak: ## 100,000 messages, 4 workers, 5 % faults of every kind, some workers killed, then the audit (PostgreSQL)
	$(RUN) python -m bench.soak $(ARGS)

recovery: ## five faults, and the rate of delivery through each over the undisturbed rate (PostgreSQL's programs, root)
	$(RUN) python -m bench.recovery $(ARGS)

routes: ## outages, quotas and ten thousand lanes: what routes remember, in figures (PostgreSQL; ARGS="quota lanes")
	$(RUN) python -W ignore -m bench.routes $(ARGS)

fleet: ## Celery on Redis and RabbitMQ and django-tasks-db deliver while something breaks; what was lost (nothing) (ARGS="--queues Redis")
	$(RUN) python -W ignore -m bench.fleet $(ARGS)

servers: ## real mail servers, killed in the middle, and the books of both sides compared (root; ARGS="haraka exim")
	@tools/servers || echo "what could not be fetched is skipped below"
	$(RUN) python -W ignore -m bench.servers $(ARGS)

build: ## the wheel, the source distribution and the list of dependencies (CycloneDX), in dist/; the same bytes each time
	rm -rf dist
	"$$(tools/find-python)" tools/build.py

release-check: build ## what is built, judged by the tools that an index and its users have (twine, check-wheel-contents)
	tools/uv run --locked --no-default-groups --group release twine check --strict dist/*.whl dist/*.tar.gz
	tools/uv run --locked --no-default-groups --group release check-wheel-contents dist/*.whl

clean: ## environments, caches and what was built
	rm -rf .venv .venvs .uv .python dist build var .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
