# shellcheck shell=bash
# Sourced by the scripts of this folder: where the repository is, how they fail, and which file goes where.

# A list that cannot be made must end the script that reads it.
shopt -s inherit_errexit

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
: "${CARGO_TARGET_DIR:=$clone/target}"
: "${BIN:=$CARGO_TARGET_DIR/release/nodebake}"
: "${OUT:=$clone/target/dist}"

# die MESSAGE HINT
die() {
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

need_program() {
  [[ -f $BIN && -x $BIN ]] || die "there is no program $BIN" "run \`make build\`, or name one: BIN=PATH"
}

# The version in Cargo.toml, which must be the program's: one that was built before a change is not what is packed.
version() {
  local told wanted
  wanted=$(sed -n '/^\[package\]$/,/^\[/s/^version = "\(.*\)"$/\1/p' "$clone/Cargo.toml")
  told=$("$BIN" --version)
  [[ $told == "nodebake $wanted" ]] || die "$BIN says '$told', and Cargo.toml $wanted" "run \`make build\`"
  printf '%s\n' "$wanted"
}

# Seconds that stand for the time of everything that is packed: the commit's, unless SOURCE_DATE_EPOCH says another.
packed_at() {
  local seconds=${SOURCE_DATE_EPOCH:-}
  # Sources without a history have the time that nodebake's images have, 2000-01-01.
  [[ -n $seconds ]] || seconds=$(git -C "$clone" log -1 --format=%ct 2>/dev/null) || seconds=946684800
  [[ $seconds =~ ^[0-9]+$ ]] || die "SOURCE_DATE_EPOCH is '$seconds', which is no number of seconds" \
    "give digits, or unset it"
  printf '%s\n' "$seconds"
}

# A line for each file: its mode, where it is, and where it goes beneath PREFIX, parted by tabs.
files() {
  local path documents
  cd "$clone"
  file() { printf '%s\t%s\t%s\n' "$@"; }
  file 755 "$BIN" bin/nodebake
  for path in man/*.1; do file 644 "$clone/$path" "share/man/man1/${path#man/}"; done
  file 644 "$clone/completions/nodebake" share/bash-completion/completions/nodebake
  file 644 "$clone/completions/nodebake.fish" share/fish/vendor_completions.d/nodebake.fish
  file 644 "$clone/completions/_nodebake" share/zsh/site-functions/_nodebake
  documents=$(find README.md CHANGELOG.md docs -type f && find . -maxdepth 1 -name 'LICENSE*' -printf '%P\n')
  while IFS= read -r path; do file 644 "$clone/$path" "share/doc/nodebake/$path"; done <<<"$documents"
}
