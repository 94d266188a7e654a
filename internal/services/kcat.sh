#!/usr/bin/env bash
# kcat, a Kafka client on librdkafka that tests compare with. Nothing runs: the address is the program's path. Where it is
# missing and can't be installed the tests that need it are skipped and say so; in CI that is a failure.
set -euo pipefail
cd "$(dirname "$0")"
. ./apt.sh
dir="$1"

if ! command -v kcat >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt_install kcat
  else
    echo "The tests of foreign Kafka clients need kcat: install it (Debian and Ubuntu: apt-get install kcat), or set WEAVER_TEST_KCAT to its path"
    [ -z "${CI:-}" ] || exit 1
  fi
fi
command -v kcat >"$dir/address" || true
