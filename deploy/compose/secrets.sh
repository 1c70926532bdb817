#!/bin/sh
# Makes the passwords of this deployment, in ./secrets, once: what is there stays. Nobody but root and you reads the
# directory; the files in it have to be readable by the containers' users, into which they are mounted one by one.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

random() { od -An -N 32 -tx1 /dev/urandom | tr -d ' \n'; }

if [ -e secrets/pollen.toml ]; then
  echo "secrets/ is there already: nothing was changed"
  exit 0
fi
postgres=$(random)
redis=$(random)
printf '%s' "$postgres" >secrets/postgres_password
cat >secrets/redis.conf <<END
requirepass $redis
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
END
cat >secrets/pollen.toml <<END
# Of all nodes. docs/CONFIGURATION.md has all keys; the three nodes are started again after a change:
# docker compose restart pollen1 pollen2 pollen3
listen = "0.0.0.0:8080"
database_url = "postgres://pollen:$postgres@postgres/pollen"
redis_url = "redis://:$redis@redis"
trusted_proxies = "172.30.88.10"
# The address that people use, once there is a proxy with HTTPS in front:
# public_url = "https://chat.example.org"

[auth]
modes = "token"
secret = "$(random)"

# Without a key the built-in demo model answers.
# [openai]
# api_key = "sk-…"
END
chmod 0444 secrets/*
echo "made secrets/postgres_password, secrets/redis.conf and secrets/pollen.toml"
