//! Disks that are full: a clear error, nothing half left, and success once there is space.
//!
//! The disk is a small tmpfs in a mount namespace of its own, so the tests need root or user namespaces, as CI has.

use std::fs;
use std::process::Command;

use crate::mirror::Item;
use crate::world::{Ran, World};

/// Words that run the program twice with a tmpfs on a folder: of the size given first, then of 64 MiB. What is in the
/// folder is copied to COPY-1 and COPY-2 each time, and what the program says stands in stdout-1, stderr-1, and so on.
const SCRIPT: &str = r#"
folder=$1 options=$2; shift 2
mkdir -p "$folder"
[ ! -e "$folder.fill" ] || cp -a "$folder.fill/." "$folder"
mount -t tmpfs -o "$options" none "$folder" || exit 99
for run in 1 2; do
  "$@" >"stdout-$run" 2>"stderr-$run"
  echo $? >"code-$run"
  mkdir "copy-$run"
  cp -a "$folder/." "copy-$run" || exit 99
  mount -o remount,size=64m,nr_inodes=1000 "$folder" || exit 99
done
"#;
