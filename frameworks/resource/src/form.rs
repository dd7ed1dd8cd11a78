//! The two forms of a function, told apart by the compiler.

#[doc(hidden)]
#[derive(Debug)]
pub enum SyncForm {}
#[doc(hidden)]
#[derive(Debug)]
pub enum AsyncForm {}
