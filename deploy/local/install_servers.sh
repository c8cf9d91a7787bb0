#!/bin/sh
# Makes sure that the servers which the tests (or, with the word cluster, `make cluster`) start for themselves are
# installed: RabbitMQ, Redis and nginx; for the tests also Compose, which reads docker-compose.yml without an engine,
# Chromium, in which a page listens, and curl, with which the examples of the README are tried.
# MongoDB's wire comes with the Python environment.
# As root on Debian it installs what is missing, otherwise it says so.
set -eu

who="The tests need"
rabbitmq_url="${STARLING_TEST_RABBITMQ_URL:-}"
redis_url="${STARLING_TEST_REDIS_URL:-}"
if [ "${1:-}" = cluster ]; then
    who="The cluster needs" rabbitmq_url="" redis_url=""
fi

missing=""
# Debian keeps these out of a plain user's PATH.
PATH="$PATH:/usr/sbin:/sbin"
command -v rabbitmq-server >/dev/null || [ -n "$rabbitmq_url" ] || missing="$missing rabbitmq-server"
command -v redis-server >/dev/null || [ -n "$redis_url" ] || missing="$missing redis-server"
command -v nginx >/dev/null || missing="$missing nginx"
[ "${1:-}" = cluster ] || docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null ||
    missing="$missing docker-compose"
[ "${1:-}" = cluster ] || command -v chromium >/dev/null || missing="$missing chromium"
[ "${1:-}" = cluster ] || command -v curl >/dev/null || missing="$missing curl"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "$who$missing on this machine. Debian and Ubuntu: sudo apt-get install$missing" >&2
    [ "${1:-}" = cluster ] ||
        echo "Or point them at running servers: STARLING_TEST_RABBITMQ_URL, STARLING_TEST_REDIS_URL" >&2
    exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # one word per package
apt-get install -qq --yes --no-install-recommends $missing >/dev/null
