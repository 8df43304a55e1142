//! 21 echo tests.

// As its documentation says.
#[ctor::ctor(unsafe)]
fn init() {
    patchbay::init_userns().expect("a user namespace");
}

measure::suite!(with_patchbay::echo);
