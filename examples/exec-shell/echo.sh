#!/bin/sh
# Answers each request with its path. A request is a line of JSON that begins with {"id":NUMBER, and the
# path in it stands before "params"; so the shell can cut both out by itself.
while read -r line; do
  id=${line#*:} id=${id%%,*}
  path=${line#*\"path\":} path=${path%%,\"params\"*}
  printf '{"id":%s,"body_json":{"path":%s}}\n' "$id" "$path"
done
