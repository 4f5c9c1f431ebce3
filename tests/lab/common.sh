# shellcheck shell=bash
# Sourced by the scripts of this folder: where the lab lives, how it talks, and where Debian's archive is.

# The words of the lab's own messages go to stderr; stdout is for what a command was asked for.
say() { printf 'lab: %s\n' "$*" >&2; }
die() {
  printf 'lab: error: %s\n' "$*" >&2
  exit 1
}

LAB_SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
LAB_CLONE=$(cd "$LAB_SCRIPTS/../.." && pwd -P)
LAB_NAME=${LAB_NAME:-nblab}
LAB_DIR=${LAB_DIR:-$LAB_CLONE/target/lab}
# What `lab build` makes can be shared by several labs; everything else belongs to one.
LAB_BUILD_DIR=${LAB_BUILD_DIR:-$LAB_DIR}
export LAB_SCRIPTS LAB_CLONE LAB_NAME LAB_DIR LAB_BUILD_DIR

[[ $LAB_NAME =~ ^[a-z][a-z0-9]{0,10}$ ]] || die "LAB_NAME must be 1 to 11 small letters and digits, not '$LAB_NAME'"
[[ $LAB_DIR == /* && $LAB_BUILD_DIR == /* ]] || die "LAB_DIR and LAB_BUILD_DIR must be absolute paths"

need_root() { ((EUID == 0)) || die "$1 must run as root"; }

# wait_for SECONDS WHAT CMD...: polls the very condition CMD until it holds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || die "gave up waiting for $what"
    sleep 0.1
  done
}

# One line an index: repository, release, codename, origin.
apt_indexes() {
  # $(...) belongs to apt, not to the shell.
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null
}

# The Debian archive that this machine's apt is configured with: the scripts name no host themselves.
# LAB_DEBIAN_URI replaces it, for a machine whose apt has another distribution.
debian_uri() {
  if [[ -n ${LAB_DEBIAN_URI:-} ]]; then
    printf '%s\n' "$LAB_DEBIAN_URI"
    return
  fi
  local uri
  uri=$(apt_indexes | awk '$4 == "Debian" && $2 == $3 && $2 !~ /-(updates|security)$/ { print $1; exit }')
  [[ -n $uri ]] || die "apt has no Debian archive configured (or its lists are empty: apt-get update); set LAB_DEBIAN_URI"
  printf '%s\n' "$uri"
}

debian_keyring() {
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -r $keyring ]] || die "$keyring is missing: install debian-archive-keyring"
  printf '%s\n' "$keyring"
}

# apt_in ROOT COMMAND [ARG...]: apt with a root of its own: the machine's configuration and lists are neither read nor
# written.
apt_in() {
  local root=$1 command=$2
  shift 2
  "$command" -q -o Dir::Etc::SourceList="$root/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$root/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$root/cache" \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
    -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

# apt_root ROOT SUITE: makes such a root for a suite of Debian's archive.
apt_root() {
  rm -rf "$1"
  mkdir -p "$1/lists/partial" "$1/cache"
  printf 'deb [signed-by=%s arch=amd64] %s %s main\n' "$(debian_keyring)" "$(debian_uri)" "$2" >"$1/sources.list"
  apt_in "$1" apt-get update >/dev/null
}
