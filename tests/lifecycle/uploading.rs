//! Which images are hashed while they are uploaded.

use std::fs::File;

use nodebake::apply::ApplyError;
use nodebake::digest::Digest;
use nodebake::stamp::Stamp;

use crate::world::World;

/// A cluster whose base image is said to have a digest that it has not.
fn told_wrong() -> World {
    let mut world = World::with_good_guests();
    for built in &mut world.built {
        built.images.base.digest = Digest::of(b"told");
    }
    world
}

fn verify(world: &mut World) {
    for built in &mut world.built {
        let file = File::open(&built.images.base.path).unwrap();
        built.images.base.verified = Some(Stamp::of(&file).unwrap());
    }
}

fn came_up(world: &World) -> Result<usize, String> {
    let chain = |error: ApplyError| format!("{error}: {}", std::error::Error::source(&error).unwrap());
    world.carry_out(&world.plan()).map(|outcomes| outcomes.len()).map_err(chain)
}

#[test]
fn a_base_image_is_hashed_unless_it_looks_as_it_did_when_it_was_verified() {
    let mut world = told_wrong();
    let told = Digest::of(b"told");
    let wrong = format!(
        "uploading the base image: the file for volume nodebake.base.{told}.qcow2 has sha256 {}, not {told}",
        world.images.base.digest
    );
    assert_eq!(came_up(&world), Err(wrong.clone()));
    // Nobody looks into what was verified.
    verify(&mut world);
    assert_eq!(came_up(&world), Ok(2));
    let mut world = told_wrong();
    verify(&mut world);
    // The same bytes in a file of its own.
    let path = &world.images.base.path;
    std::fs::copy(path, path.with_extension("new")).unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
    assert_eq!(came_up(&world), Err(wrong));
}
