#!/bin/sh
# `make run`: starts the built-in demonstration, sends a message through it, shows where it landed and what `why` says.
set -eu
build=$1
run=${RUN:-$PWD/run}
# as root each process is a user of its own, who must be able to enter each folder on the way
if [ "$(id -u)" = 0 ] && [ -z "${RUN:-}" ]; then
    folder=$PWD
    while [ "$folder" != / ]; do
        case $(stat -L -c %A "$folder") in *[xt]) ;; *)
            run=$(mktemp -d /tmp/waxwing-run.XXXXXX)
            chmod 755 "$run"
            echo "$folder is shut for other users, so the demonstration runs in $run (RUN=FOLDER chooses another)"
            break ;;
        esac
        folder=$(dirname "$folder")
    done
fi
port=${PORT:-2525}
case $build in /*) ;; *) build=$PWD/$build ;; esac
waxwing=$build/src/prog/waxwing
mkdir -p "$run"
export WAXWING_CONTROL="$run/control"
# its own part of the log: another one may run in this folder, and it goes on writing
log="$run/log"
touch "$log"
before=$(wc -c <"$log")

"$waxwing" serve --demo "$run" --port "$port" 2>>"$log" &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server || true' EXIT
trap 'exit 0' INT TERM HUP PIPE # a closed terminal or pipe ends it, too

# until it says that it is ready, or ends
tail --pid=$server -c "+$((before + 1))" -F "$log" 2>/dev/null | sed -u '/ supervisor ready /q' >/dev/null
if ! kill -0 $server 2>/dev/null; then
    tail -c "+$((before + 1))" "$log" >&2
    echo "It did not start (PORT=N make run takes another port, RUN=FOLDER another folder)." >&2
    exit 1
fi

echo "Waxwing listens on 127.0.0.1:$port (SMTP; mail for any user @localhost; log: $log)"
answer=$("$waxwing" send --server "127.0.0.1:$port" --from you@localhost --to friend@localhost \
    --subject "A first message" "It went in by SMTP, was flushed to disk, and came out here.")
echo "sent:      $answer"
id=$(printf '%s\n' "$answer" | sed -n 's/.*queued as \([0-9A-Z]\{13\}\).*/\1/p' | head -n 1)
[ -n "$id" ] || exit 1
# the journal says when it is over
until "$waxwing" why --json "$id" 2>/dev/null | grep -q '"event":"done"'; do
    kill -0 $server 2>/dev/null || { cat "$log" >&2; exit 1; }
done
file=$(grep -rl "$id" "$run/mail" 2>/dev/null | head -n 1)
echo "delivered: $file"
sed 's/^/    /' "$file"
echo "why $id says:"
"$waxwing" why "$id" | sed 's/^/    /'
echo
echo "It stays up; send it more:  swaks --server 127.0.0.1:$port --to anyone@localhost"
echo "Ask it:  WAXWING_CONTROL=$WAXWING_CONTROL $waxwing queue list      End it with Ctrl-C."
[ "${DEMO_ONCE:-}" = yes ] || wait $server
