//! A type that is no handle, alone: as an argument, and as a field.

use netns_test::{FromNetwork, netns_test};

#[netns_test]
fn argument(_number: u32) {} //~ ERROR `u32` cannot be an argument of a netns test

#[derive(FromNetwork)]
struct Field {
    _number: u32, //~ ERROR `u32` cannot be an argument of a netns test
}
