//! Examples of netns-test. They are tests: see the directory `tests`.
