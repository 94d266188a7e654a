#!/usr/bin/env bash
# PostgreSQL, the newest that is installed, in the folder that is given; the address is a URL of the superuser postgres. It is
# as durable as a user's (fsync is on): benchmarks and crash tests use it too. WEAVER_TEST_POSTGRES_RESTART is a program that
# crashes it (an immediate shutdown) and returns when it answers again, WEAVER_TEST_POSTGRES_CA what its certificate for TLS is
# verified with.
#
# postgres.sh DIR starts it, postgres.sh DIR restart and postgres.sh DIR stop are for that server then.
set -euo pipefail
script="$(cd "$(dirname "$0")" && pwd)/$(basename "$0")"
cd "$(dirname "$0")"
. ./apt.sh
. ./control.sh
. ./ports.sh
. ./secrets.sh
PATH="$PATH:/usr/sbin"
dir="$1"
server="$dir/server" # all that the server reads and writes; its own where it isn't ours
control=(-D "$server/data" -w -t 60)

# programs prints the folder of the newest server's programs. Debian has one for each version, and clients alone in some.
programs() {
  local initdb
  initdb="$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)"
  if [ ! -x "$initdb" ]; then
    initdb="$(command -v initdb)" || return 1
  fi
  dirname "$(readlink -f "$initdb")"
}

# as_server runs a command as the user of the server, which can't be root, and keeps the descriptor of alone to ourselves.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --init-groups "$@" 9>&-
  else
    "$@" 9>&-
  fi
}

if ! bin="$(programs)" || ! command -v openssl >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt_install postgresql openssl
    bin="$(programs)"
  else
    echo "The tests of PostgreSQL need its server and OpenSSL: install them (Debian and Ubuntu: apt-get install postgresql openssl), or set WEAVER_TEST_POSTGRES to the URL of a server"
    exit 1
  fi
fi
cd "$dir"

case "${2:-start}" in
  restart)
    alone "$dir" restart
    for _ in $(seq 5); do # a connection of somebody else may have its port for a moment
      if as_server "$bin/pg_ctl" "${control[@]}" -m immediate -l "$server/log" restart; then
        head -n 1 "$server/data/postmaster.pid" >"$dir/pid"
        exit 0
      fi
      sleep 0.5
    done
    tail -n 40 "$server/log"
    exit 1
    ;;
  stop)
    # Immediately: what it has is thrown away, and any other shutdown may wait for clients.
    alone "$dir" stop
    as_server "$bin/pg_ctl" "${control[@]}" -t 10 -m immediate stop
    rm -f "$dir/pid"
    exit 0
    ;;
esac

mkdir -m 700 "$server"
password >"$server/password"
certificate "$server/server.key" "$dir/ca.pem"
cp "$dir/ca.pem" "$server/server.pem"
if [ "$(id -u)" = 0 ]; then
  if ! id postgres >/dev/null 2>&1; then
    echo "PostgreSQL doesn't run as root: add a user postgres, run the tests as another user, or set WEAVER_TEST_POSTGRES to the URL of a server"
    exit 1
  fi
  chown -R postgres: "$server"
  if ! as_server test -x "$server"; then
    echo "The user postgres can't reach $server: set TMPDIR to a folder that all users may enter, or WEAVER_TEST_POSTGRES to the URL of a server"
    exit 1
  fi
fi
as_server "$bin/initdb" -D "$server/data" -U postgres -A scram-sha-256 --pwfile="$server/password" -E UTF8 --no-locale --no-sync
cat >"$server/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = logical
max_wal_senders = 50
max_replication_slots = 50
max_connections = 200
max_prepared_transactions = 10
deadlock_timeout = 200ms
ssl = on
ssl_cert_file = '$server/server.pem'
ssl_key_file = '$server/server.key'
CONF
cat "$server/postgresql.conf" >>"$server/data/postgresql.conf"
controls "$script" "$dir"

trap '' HUP INT TERM # the server begins a session of its own: until it can be stopped by its folder, nothing stops us
for _ in $(seq 3); do
  port="$(free_ports 1)"
  echo "port = $port" >>"$server/data/postgresql.conf"
  if as_server "$bin/pg_ctl" "${control[@]}" -l "$server/log" start; then
    head -n 1 "$server/data/postmaster.pid" >"$dir/pid"
    printf '%s\n' "WEAVER_TEST_POSTGRES_RESTART=$dir/restart" "WEAVER_TEST_POSTGRES_CA=$dir/ca.pem" >"$dir/environment"
    echo "postgres://postgres:$(cat "$server/password")@127.0.0.1:$port/postgres?sslmode=disable" >"$dir/address"
    exit 0
  fi
done
tail -n 40 "$server/log"
exit 1
