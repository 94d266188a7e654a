# What servers share that tests restart: the script that has started one also restarts and stops it.

# controls SCRIPT DIR writes the programs DIR/restart and DIR/stop, which call SCRIPT with that word behind DIR.
controls() {
  local word
  for word in restart stop; do
    printf '#!/bin/sh\nexec bash %q %q %s\n' "$1" "$2" "$word" >"$2/$word"
    chmod 755 "$2/$word"
  done
}

# alone DIR WORD waits until nothing else restarts or stops the server and then keeps others out, on descriptor 9, which the
# server must not inherit. What has begun isn't cut off: a restart whose test was interrupted ends, and then the server is
# stopped. After a stop it fails, so that nothing starts once more what with has stopped.
alone() {
  trap '' HUP INT TERM
  exec 9>"$1/lock"
  flock -w 60 9
  if [ -e "$1/stopped" ]; then
    echo "this server was stopped for good"
    return 1
  fi
  if [ "$2" = stop ]; then
    touch "$1/stopped"
  fi
}

# alive PID tells whether a process runs; one that has ended and that nobody waits for doesn't.
alive() {
  kill -0 "$1" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}
