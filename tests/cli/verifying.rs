//! `verify`.

use crate::world::World;

#[test]
fn look() {
    let world = World::built();
    println!("{:?}", world.run(&["verify"]));
    crate::machines::with_machines(&world);
    println!("{:?}", world.run(&["verify"]));
}
