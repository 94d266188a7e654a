#!/usr/bin/env bash
# Apicurio Registry with its Confluent-compatible API, in memory, from Maven Central. The address is that API's base URL.
set -euo pipefail
cd "$(dirname "$0")"
. ./apt.sh
. ./ports.sh
dir="$1"
version=2.6.13.Final
app="$WEAVER_SERVICES_CACHE/apicurio-registry-$version"

for program in java mvn curl; do
  if ! command -v "$program" >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      apt_install openjdk-17-jre-headless maven curl
    else
      echo "The schema registry needs Java 17, Maven and curl: install openjdk-17-jre-headless, maven and curl, or set WEAVER_TEST_REGISTRY to the URL of a registry"
      exit 1
    fi
  fi
done

if [ ! -f "$app/complete" ]; then
  fetching="$(mktemp -d "$WEAVER_SERVICES_CACHE/fetching.XXXXXX")"
  mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all" -DoutputDirectory="$fetching"
  mkdir "$fetching/app"
  tar xzf "$fetching"/*.tar.gz -C "$fetching/app"
  touch "$fetching/app/complete"
  rm -rf "$app"
  mv "$fetching/app" "$app"
  rm -rf "$fetching"
fi

read -r port <<<"$(free_ports 1)"
cd "$dir"
java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" \
  -jar "$app"/*-runner.jar >"$dir/registry.log" 2>&1 &
pid=$!
echo "$pid" >"$dir/pid"
for _ in $(seq 600); do # two minutes
  if curl -sf -m 5 -o "$dir/subjects" "http://127.0.0.1:$port/apis/ccompat/v7/subjects"; then
    echo "http://127.0.0.1:$port/apis/ccompat/v7" >"$dir/address"
    exit 0
  fi
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.2
done
tail -n 40 "$dir/registry.log"
exit 1
