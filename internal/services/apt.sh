# apt_install PACKAGE... installs packages of Debian and Ubuntu, for root. Services that need one at the same time take turns
# (apt-get itself gives up where another holds its list of packages), and what has begun isn't cut off in the middle.
apt_install() {
  (
    trap '' HUP INT TERM
    exec 8</var/lib/dpkg
    flock 8
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q 8<&- && apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" 8<&-
  )
}
