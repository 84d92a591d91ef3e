# shellcheck shell=bash disable=SC2154
# Apache Kafka: one JVM, broker and controller. Needs Java 17 and, the first time, Maven.

kafka_fetch() {
  local stamp=$CACHE/kafka/$KAFKA_VERSION-$LOG4J_VERSION
  [ -e "$stamp" ] && return
  command -v java >/dev/null || die "kafka needs Java 17 or newer (Debian: apt-get install default-jre-headless)"
  command -v mvn >/dev/null || die "kafka is fetched by Maven (Debian: apt-get install maven)"
  say "kafka: fetching $KAFKA_VERSION (54 MB)"
  rm -rf "$CACHE/kafka"
  mkdir -p "$CACHE/kafka/lib"
  timeout 900 mvn -q -B -f "$here/kafka/pom.xml" "-Dkafka.version=$KAFKA_VERSION" "-Dlog4j.version=$LOG4J_VERSION" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DincludeScope=runtime \
    "-DoutputDirectory=$CACHE/kafka/lib" >&2 || die "Maven could not fetch Kafka $KAFKA_VERSION"
  touch "$stamp"
}

kafka_java() { java "-Dlog4j2.configurationFile=$here/kafka/log4j2.properties" -cp "$CACHE/kafka/lib/*" "$@"; }

# Starts empty each time: topics are made by the tests that use them.
kafka_start() {
  local dir=$STATE/kafka port controller id
  port=$(port_of kafka) controller=$(port_of kafka .controller)
  rm -rf "$dir/data"
  sed -e "s#@PORT@#$port#g" -e "s#@CONTROLLER@#$controller#g" -e "s#@DATA@#$dir/data#g" \
    "$here/kafka/server.properties" >"$dir/server.properties"
  id=$(kafka_java kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1)
  kafka_java kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" --standalone >"$dir/log" 2>&1 ||
    { tail -n 15 "$dir/log" >&2; die "the broker's directory could not be prepared"; }
  launch kafka java -Xmx512m "-Dlog4j2.configurationFile=$here/kafka/log4j2.properties" \
    -cp "$CACHE/kafka/lib/*" kafka.Kafka "$dir/server.properties"
  await kafka 120 python3 "$here/kafka/ready.py" "$port"
  echo "export LAKEGATE_TEST_KAFKA=127.0.0.1:$port" >"$dir/env"
}
