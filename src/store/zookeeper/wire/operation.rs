//! The numbers of operations that can be part of a multi or a multiRead.

pub(super) const CREATE: i32 = 1;
pub(super) const DELETE: i32 = 2;
pub(super) const DATA: i32 = 4;
pub(super) const SET_DATA: i32 = 5;
pub(super) const CHECK: i32 = 13;

/// The number of the failure that stands in place of an operation in a reply, and of its end.
pub(super) const FAILURE: i32 = -1;
