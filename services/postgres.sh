# shellcheck shell=bash disable=SC2154
# A private PostgreSQL from the host's binaries, with logical replication on. It refuses to run as root, so under root
# it runs as `postgres`, from a directory that user can reach.

postgres_bin() {
  local dir
  for dir in ${LAKEGATE_PG_BIN:+"$LAKEGATE_PG_BIN"} /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin; do
    if [ -x "$dir/initdb" ]; then echo "$dir"; fi
  done | sort -V | tail -n 1
}

postgres_fetch() {
  [ -n "$(postgres_bin)" ] || die "no PostgreSQL server found (Debian: apt-get install postgresql; or set LAKEGATE_PG_BIN)"
}

postgres_as() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

postgres_home() { if [ "$(id -u)" = 0 ]; then echo /var/tmp/lakegate-services-postgres; else echo "$STATE/postgres/home"; fi; }

postgres_signal() { echo INT; } # fast shutdown: TERM would wait for clients

postgres_start() {
  local dir=$STATE/postgres home bin port password=lakegate
  home=$(postgres_home) bin=$(postgres_bin) port=$(port_of postgres)
  rm -rf "$home"
  mkdir -m 700 "$home"
  echo "$password" >"$home/password"
  if [ "$(id -u)" = 0 ]; then chown -R postgres "$home"; fi
  ( cd / && postgres_as "$bin/initdb" -D "$home/data" -U postgres -A scram-sha-256 --pwfile="$home/password" \
      -E UTF8 --locale=C.UTF-8 ) >"$dir/log" 2>&1 || { cat "$dir/log" >&2; die "initdb failed"; }
  # exec: the id kept is the server's own, not that of a runuser in between.
  local as=()
  if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
  ( cd / && launch postgres "${as[@]}" "$bin/postgres" -D "$home/data" -p "$port" -k "$home" -c listen_addresses=127.0.0.1 \
      -c wal_level=logical -c max_replication_slots=10 -c max_wal_senders=10 -c max_slot_wal_keep_size=1GB \
      -c timezone=UTC -c fsync=off )
  await postgres 60 "$bin/pg_isready" -h 127.0.0.1 -p "$port"
  echo "export LAKEGATE_TEST_POSTGRES=postgres://postgres:$password@127.0.0.1:$port/postgres" >"$dir/env"
}
