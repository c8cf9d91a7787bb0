#!/bin/sh
# Makes sure that the servers which the tests start for themselves are installed: RabbitMQ and Redis.
# (MongoDB's wire comes with the Python environment.) As root on Debian it installs what is missing, otherwise it says so.
set -eu

missing=""
# Debian keeps both scripts out of a plain user's PATH.
PATH="$PATH:/usr/sbin:/sbin"
command -v rabbitmq-server >/dev/null || [ -n "${STARLING_TEST_RABBITMQ_URL:-}" ] || missing="$missing rabbitmq-server"
command -v redis-server >/dev/null || [ -n "${STARLING_TEST_REDIS_URL:-}" ] || missing="$missing redis-server"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests need$missing on this machine. Debian and Ubuntu: sudo apt-get install$missing" >&2
    echo "Or point them at running servers: STARLING_TEST_RABBITMQ_URL, STARLING_TEST_REDIS_URL" >&2
    exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # one word per package
apt-get install -qq --yes --no-install-recommends $missing >/dev/null
