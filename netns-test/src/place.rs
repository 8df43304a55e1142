//! Where an interface can be plugged in.

use crate::{Node, Router};

/// What an interface can be plugged into: a node or router by its handle, and everything, switches among it, by its name.
pub trait ToPlace: private::Sealed {
    /// Its name.
    #[doc(hidden)]
    fn place(&self) -> String;
}

mod private {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::Node {}
    impl Sealed for super::Router {}
    impl<T: Sealed + ?Sized> Sealed for &T {}
}

impl ToPlace for str {
    fn place(&self) -> String {
        self.replace('_', "-")
    }
}

impl ToPlace for String {
    fn place(&self) -> String {
        self.as_str().place()
    }
}

impl ToPlace for Node {
    fn place(&self) -> String {
        self.name().to_owned()
    }
}

impl ToPlace for Router {
    fn place(&self) -> String {
        self.name().to_owned()
    }
}

impl<T: ToPlace + ?Sized> ToPlace for &T {
    fn place(&self) -> String {
        (**self).place()
    }
}
