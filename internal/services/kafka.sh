#!/usr/bin/env bash
# Apache Kafka (KRaft, one node that is broker and controller) from Maven Central, in the folder that is given. Its address
# is that of a listener without security; WEAVER_TEST_KAFKA_SECURITY is a folder that knows the others (kafka-security.sh).
set -euo pipefail
cd "$(dirname "$0")"
. ./apt.sh
. ./ports.sh
. ./kafka-security.sh
dir="$1"
version=4.2.0
libs="$WEAVER_SERVICES_CACHE/kafka-$version"

for program in java mvn openssl; do
  if ! command -v "$program" >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      apt_install openjdk-17-jre-headless maven openssl
    else
      echo "Kafka needs Java 17, Maven and OpenSSL: install openjdk-17-jre-headless, maven and openssl, or set WEAVER_TEST_KAFKA to the address of a broker"
      exit 1
    fi
  fi
done

if [ ! -f "$libs/complete" ]; then
  fetching="$(mktemp -d "$WEAVER_SERVICES_CACHE/fetching.XXXXXX")"
  cat >"$fetching/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>weaver</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
POM
  mvn -q -B -f "$fetching/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DoutputDirectory="$fetching/libs"
  touch "$fetching/libs/complete"
  rm -rf "$libs"
  mv "$fetching/libs" "$libs"
  rm -rf "$fetching"
fi

cat >"$dir/Ready.java" <<'JAVA'
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;

/** Returns as soon as the broker answers. */
public class Ready {
  public static void main(String[] args) throws Exception {
    Properties p = new Properties();
    p.put("bootstrap.servers", args[0]);
    p.put("default.api.timeout.ms", "30000");
    try (Admin admin = Admin.create(p)) {
      admin.describeCluster().nodes().get();
    }
  }
}
JAVA

read -r -a ports <<<"$(free_ports 7)"
port="${ports[0]}" controller="${ports[1]}"
secure "$dir" "${ports[@]:2}"
cat >"$dir/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=CONTROLLER://127.0.0.1:$controller,PLAINTEXT://127.0.0.1:$port$(secured "$dir" address)
advertised.listeners=PLAINTEXT://127.0.0.1:$port$(secured "$dir" address)
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT$(secured "$dir" protocol)
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
log.cleaner.backoff.ms=200
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
CONF
cat "$dir/secured.properties" >>"$dir/server.properties"
# The name of a cluster is a UUID in base64 for URLs; it must not begin with a hyphen.
cluster="A$(head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' | cut -c 1-20)A"
java -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.tools.StorageTool format -t "$cluster" -c "$dir/server.properties"
java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.Kafka "$dir/server.properties" >"$dir/kafka.log" 2>&1 &
echo $! >"$dir/pid"
if ! timeout 60 java -XX:TieredStopAtLevel=1 -cp "$libs/*" "$dir/Ready.java" "127.0.0.1:$port"; then
  cat "$dir/kafka.log"
  exit 1
fi
echo "127.0.0.1:$port" >"$dir/security/plaintext"
echo "WEAVER_TEST_KAFKA_SECURITY=$dir/security" >"$dir/environment"
echo "127.0.0.1:$port" >"$dir/address"
