#!/usr/bin/env bash
# MariaDB, as a server of the MySQL protocol, in the folder that is given; the address is a DSN of github.com/go-sql-driver/mysql
# of root and the database weaver. It writes a binary log of rows with GTIDs and is as durable as a user's: benchmarks and
# crash tests use it too. WEAVER_TEST_MYSQL_RESTART is a program that kills it and returns when it answers again,
# WEAVER_TEST_MYSQL_CA what its certificate for TLS is verified with.
#
# mysql.sh DIR starts it, mysql.sh DIR restart and mysql.sh DIR stop are for that server then.
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

for program in mariadbd mariadb-install-db mariadb openssl; do
  if ! command -v "$program" >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      apt_install mariadb-server mariadb-client openssl
    else
      echo "The tests of MySQL need MariaDB and OpenSSL: install them (Debian and Ubuntu: apt-get install mariadb-server mariadb-client openssl), or set WEAVER_TEST_MYSQL to the DSN of a server"
      exit 1
    fi
  fi
done
cd "$dir"

# as_server runs a command as the user of the server, which isn't to be root.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=mysql --regid=mysql --init-groups "$@"
  else
    "$@"
  fi
}

# launch starts the server, with the options that are given besides, and returns when it answers.
launch() {
  local pid
  mariadbd --defaults-file="$dir/server.cnf" "$@" >>"$dir/mariadbd.log" 2>&1 9>&- &
  pid=$!
  echo "$pid" >"$dir/pid"
  for _ in $(seq 600); do # a minute
    if mariadb --defaults-file="$dir/client.cnf" -e 'SELECT 1' weaver >"$dir/answer" 2>&1; then
      return 0
    fi
    alive "$pid" || break
    sleep 0.1
  done
  end
  return 1
}

# end kills the server.
end() {
  local pid
  pid="$(cat "$dir/pid")"
  kill -9 "$pid" 2>/dev/null || true
  while alive "$pid"; do
    sleep 0.01
  done
  rm -f "$dir/pid"
}

case "${2:-start}" in
  restart)
    alone "$dir" restart
    [ ! -f "$dir/pid" ] || end
    launch && exit 0
    tail -n 40 "$dir/mariadbd.log"
    exit 1
    ;;
  stop)
    # Killed: what it has is thrown away.
    alone "$dir" stop
    [ ! -f "$dir/pid" ] || end
    exit 0
    ;;
esac

mkdir -m 700 "$server" "$server/tmp"
certificate "$server/server.key" "$dir/ca.pem"
cp "$dir/ca.pem" "$server/server.pem"
user=
if [ "$(id -u)" = 0 ]; then
  if ! id mysql >/dev/null 2>&1; then
    echo "MariaDB isn't run as root: add a user mysql, run the tests as another user, or set WEAVER_TEST_MYSQL to the DSN of a server"
    exit 1
  fi
  user="user=mysql"
  chown -R mysql: "$server"
  if ! as_server test -x "$server"; then
    echo "The user mysql can't reach $server: set TMPDIR to a folder that all users may enter, or WEAVER_TEST_MYSQL to the DSN of a server"
    exit 1
  fi
fi
port="$(free_ports 1)"
password="$(password)"
# The socket's path is one in the data folder: those of a temporary folder may be too long for a socket.
cat >"$dir/server.cnf" <<CONF
[mariadbd]
$user
datadir=$server/data
tmpdir=$server/tmp
socket=mariadbd.sock
bind-address=127.0.0.1
port=$port
port-open-timeout=5
skip-name-resolve
server-id=1
log-bin=bin
binlog-format=ROW
gtid-strict-mode=ON
sync-binlog=1
innodb-flush-log-at-trx-commit=1
max-connections=200
character-set-server=utf8mb4
ssl-cert=$server/server.pem
ssl-key=$server/server.key
CONF
(
  umask 077
  cat >"$dir/client.cnf" <<CONF
[client]
protocol=tcp
host=127.0.0.1
port=$port
user=root
password=$password
CONF
)
cat >"$server/first.sql" <<SQL
SET sql_log_bin = 0;
CREATE DATABASE weaver CHARACTER SET utf8mb4;
GRANT ALL ON *.* TO root@127.0.0.1 IDENTIFIED BY '$password' WITH GRANT OPTION;
ALTER USER root@localhost IDENTIFIED BY '$password';
SQL
# As that user and by the environment, because that program takes paths with a space apart otherwise. What it prints besides
# errors is advice.
TMPDIR="$server/tmp" as_server mariadb-install-db --no-defaults --datadir="$server/data" \
  --auth-root-authentication-method=normal --skip-test-db >"$dir/install.log"
controls "$script" "$dir"
if ! launch --init-file="$server/first.sql"; then
  tail -n 40 "$dir/mariadbd.log"
  exit 1
fi
printf '%s\n' "WEAVER_TEST_MYSQL_RESTART=$dir/restart" "WEAVER_TEST_MYSQL_CA=$dir/ca.pem" >"$dir/environment"
echo "root:$password@tcp(127.0.0.1:$port)/weaver" >"$dir/address"
