# shellcheck shell=bash disable=SC2154
# S3: versitygw over a directory. Where there is no Go to build it, moto's server, which keeps everything in memory.

s3_has_go() {
  local minor
  minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  [ "${minor:-0}" -ge 21 ]
}

s3_fetch() {
  local stamp=$CACHE/s3/versitygw-${VERSITYGW##*@}
  { [ -e "$stamp" ] || [ -x "$CACHE/s3/moto/bin/moto_server" ]; } && return
  if s3_has_go; then
    say "s3: building ${VERSITYGW##*/} (some minutes, once)"
    GOBIN=$CACHE/s3 timeout 1800 go install -trimpath -ldflags='-s -w' "$VERSITYGW" >&2 || die "go could not install $VERSITYGW"
    touch "$stamp"
  else
    say "s3: no Go 1.21 or newer here, so $MOTO instead of versitygw"
    python3 -m venv "$CACHE/s3/moto"
    "$CACHE/s3/moto/bin/pip" install -q --disable-pip-version-check "$MOTO" >&2 || die "pip could not install $MOTO"
  fi
}

s3_start() {
  local dir=$STATE/s3 port bucket=lake key=lakegate secret=lakegate-secret url
  port=$(port_of s3) url=http://127.0.0.1:$(cat "$STATE/s3/port")
  rm -rf "$dir/data"; mkdir -p "$dir/data"
  if [ -x "$CACHE/s3/versitygw" ]; then
    ROOT_ACCESS_KEY=$key ROOT_SECRET_KEY=$secret launch s3 "$CACHE/s3/versitygw" \
      --port "127.0.0.1:$port" --health /healthz --quiet --keep-alive posix "$dir/data"
  else
    launch s3 "$CACHE/s3/moto/bin/moto_server" -H 127.0.0.1 -p "$port"
  fi
  # Any HTTP answer: the two servers agree on no path that is 200 for everyone.
  await s3 60 curl -s -o /dev/null -m 2 "$url/healthz"
  # Through the API: a directory made by hand would not be owned by the account.
  curl -sS -f -o /dev/null --aws-sigv4 aws:amz:us-east-1:s3 -u "$key:$secret" \
    -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -X PUT "$url/$bucket" || die "the bucket $bucket could not be made"
  {
    echo "export LAKEGATE_TEST_S3_ENDPOINT=$url"
    echo "export LAKEGATE_TEST_S3_BUCKET=$bucket"
    echo "export LAKEGATE_TEST_S3_ACCESS_KEY=$key"
    echo "export LAKEGATE_TEST_S3_SECRET_KEY=$secret"
  } >"$dir/env"
}
