# free_ports N prints N free ports of 127.0.0.1. Somebody else may take one before it is used: whoever starts a server
# tries again with others.
free_ports() {
  python3 - "$1" <<'PY' 2>/dev/null || perl -MIO::Socket::INET -e '@s = map { IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1) or die } 1..shift; print join(" ", map { $_->sockport } @s), "\n"' "$1"
import socket, sys
s = [socket.socket() for _ in range(int(sys.argv[1]))]
for x in s: x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])
PY
}
