//! What has to work: each file is compiled, and its tests run.

mod arguments;
mod attributes;
mod graphs;
mod keys;
mod lints;
mod macros;
mod names;
mod rstest;
mod test_log;
