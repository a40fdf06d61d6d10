# Runs one server for as long as the parent lives, and stops it cleanly when the parent is gone,
# also if it was killed. POSIX sh; two shells that sleep in the kernel, about 1 MB together.
#
# usage: sh guardian.sh SERVER ARGUMENT...
# stdin: a pipe whose other end only the parent holds; its end of file is the parent's end.
# stdout: the locked file. The server inherits it, and nobody else keeps it: locked until the server has ended.
# stderr: the server's log.
# exit status: the server's. A server that ends by itself ends the guardian too.
exec 3<&0 4>&1 >&2 # every number is given here: an inherited file of any other number could be overwritten
"$@" 3<&- </dev/null &
server=$!
exec 4>&-
(
    read -r _ <&3
    kill -TERM "$server" 2>/dev/null # the server writes and syncs its file, then exits
    tries=0
    while kill -0 "$server" 2>/dev/null; do
        [ "$tries" -lt 75 ] || exec kill -KILL "$server"
        sleep 0.2
        tries=$((tries + 1))
    done
) &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
