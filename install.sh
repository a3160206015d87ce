#!/usr/bin/env bash
# Sets up Smart Tuner in .venv and runs its jobs: one table for the menu, the words and the help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# number | word | what it does | function
ITEMS=(
  "1|setup|set up .venv with everything the program needs|do_setup"
  "2|data|fetch the recorded Russian corpus, or check a folder: data DIR|do_data"
  "3|study|run a study (default: quickstart)|do_study"
  "4|train|train one voice with automatic fixes|do_train"
  "5|pages|look at studies in a browser, and talk to their voices|do_pages"
  "6|status|list the studies, or show one: status NAME|do_status"
  "7|speak|let a study's best voice say something: speak NAME \"text\"|do_speak"
  "8|test|set up and run the tests|do_test"
  "9|doctor|check this machine and the installation|do_doctor"
  "10|fixes|what was repaired in a study, and what came of it: fixes NAME|do_fixes"
  "0|quit|leave|do_quit"
)

DRY_RUN=${DRY_RUN:-}
run() { if [ -n "$DRY_RUN" ]; then echo "$*"; else "$@"; fi; }

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "No Python 3.11 or newer was found. Install one, or name it: PYTHON=/path/to/python ./install.sh" >&2
  return 1
}

# Installs EXTRAS into .venv, once for each state of the files that say what is needed.
set_up() {
  local extras=$1 stamp=".venv/.installed-$1" python
  if [ -f "$stamp" ] && [ "$stamp" -nt setup.cfg ] && [ "$stamp" -nt constraints.txt ]; then return; fi
  if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    run "$python" -m venv .venv
  fi
  run .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]"
  [ -n "$DRY_RUN" ] || touch "$stamp"
}

program() { run .venv/bin/python run_study.py "$@"; }

do_setup() { set_up ear,espeak,russian,vocoder; [ -n "$DRY_RUN" ] || echo "Ready. Next: ./install.sh study"; }
do_data() {
  set_up ear,espeak,russian,vocoder
  if [ $# -eq 0 ]; then program data prepare festvox-ru; else program data check "$@"; fi
}
do_study() { set_up ear,espeak,russian,vocoder; [ $# -gt 0 ] || set -- quickstart; program start "$@"; }
do_train() { set_up ear,espeak,russian,vocoder; [ $# -gt 0 ] || set -- quickstart; program train "$@"; }
do_pages() { set_up ear,espeak,russian,vocoder; program pages "$@"; }
do_fixes() { set_up ear,espeak,russian,vocoder; [ $# -gt 0 ] || set -- quickstart; program fixes "$@" --explain; }
do_status() { set_up ear,espeak,russian,vocoder; if [ $# -eq 0 ]; then program list; else program status "$@"; fi; }
do_speak() {
  local study text
  set_up ear,espeak,russian,vocoder
  if [ $# -lt 2 ] && [ -t 0 ]; then  # the menu splits words, so a text is asked for
    read -r -p "Study [${1:-quickstart}]: " study
    read -r -p "Text: " text
    set -- "${study:-${1:-quickstart}}" "$text"
  fi
  [ $# -ge 2 ] || { echo "Usage: ./install.sh speak NAME \"text\" [-o out.wav]" >&2; return 2; }
  program speak "$@"
}
do_test() {
  set_up ear,espeak,russian,vocoder,dev
  if [ $# -eq 0 ]; then  # everything: first what takes seconds
    run .venv/bin/ruff check .
    run .venv/bin/ruff format --check .
    run .venv/bin/mypy
  fi
  run .venv/bin/python -m pytest "$@"
}
do_doctor() { set_up ear,espeak,russian,vocoder; program doctor "$@"; }
do_quit() { :; }

help_text() {
  echo "Usage: ./install.sh [--dry-run] [WORD or NUMBER [arguments]]"
  local item number word text
  for item in "${ITEMS[@]}"; do
    IFS='|' read -r number word text _ <<<"$item"
    printf '  %2s  %-7s %s\n' "$number" "$word" "$text"
  done
}

dispatch() {
  local wanted=$1 item number word function
  shift
  for item in "${ITEMS[@]}"; do
    IFS='|' read -r number word _ function <<<"$item"
    if [ "$wanted" = "$number" ] || [ "$wanted" = "$word" ]; then
      "$function" "$@"
      return
    fi
  done
  echo "Unknown item: $wanted" >&2
  help_text >&2
  return 2
}

menu() {
  local choice
  while true; do
    help_text
    read -r -p "Your choice: " choice || return 0
    case $choice in 0 | quit) return 0 ;; "") continue ;; esac
    # shellcheck disable=SC2086  # the words of the choice are its arguments
    dispatch $choice || echo "Ended with exit code $?." >&2
  done
}

if [ "${1:-}" = "--dry-run" ]; then
  DRY_RUN=1
  shift
fi
case ${1:-} in
  -h | --help | help) help_text ;;
  "") if [ -t 0 ]; then menu; else help_text >&2; exit 2; fi ;;
  *) dispatch "$@" ;;
esac
